// Purchases of an app store: what is paid and not finished, and finishing it after the server accepted the evidence.
(function (win) {
  "use strict";
  var bridge = win.PayCoreBridge;

  bridge.unfinished = function () {
    return bridge.ask("unfinished", {}, 1e4).then(function (answer) {
      return answer.result && answer.result.transactions || [];
    });
  };
  bridge.finish = function (transaction, payment) {
    var params = { transaction_id: transaction };
    if (payment) params.payment_id = payment;
    return bridge.ask("finish", params, 1e4).then(function (answer) {
      return !!(answer.result && answer.result.finished);
    });
  };
  bridge.close = function (payment) {
    return bridge.ask("close", { payment_id: payment }, 3e3).then(function (answer) {
      return !!(answer.result && answer.result.closed);
    });
  };
})(window);
