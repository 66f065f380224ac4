// The wallets' own script objects: no shell of ours is involved. Each answers a raw code; the plan's tables say what it means.
// Which callback fired is never looked at: one wallet calls success for every code, another only complete.
(function (win) {
  "use strict";
  var bridge = win.PayCoreBridge;

  // Wait for an object that the wallet puts into the page late. Gives up, never hangs.
  function appear(name, event) {
    return new Promise(function (resolve) {
      if (win[name]) return resolve(win[name]);
      function look() {
        win.document.removeEventListener(event, look);
        clearTimeout(timer);
        resolve(win[name]);
      }
      var timer = setTimeout(look, 3e3);
      win.document.addEventListener(event, look);
    });
  }

  function agent(pattern) {
    return pattern.test(win.navigator.userAgent);
  }

  function text(said, name) {
    return String(said && said[name] !== undefined ? said[name] : "");
  }

  // A method that takes its callbacks among the arguments.
  function withCallbacks(object, method, args, code) {
    return new Promise(function (resolve) {
      function done(said) { resolve(code(said)); }
      object[method](Object.assign({}, args, { success: done, fail: done, cancel: done, complete: done }));
    });
  }

  function message(said) { return { code: text(said, "errMsg") }; }
  function resultCode(said) { return { code: text(said, "resultCode"), data: text(said, "result") }; }

  function uniCode(said) {
    var inner = /\[payment[^\]]*:(-?\d+)\]/.exec(text(said, "errMsg"));
    return { code: inner ? inner[1] : text(said, "errCode") || text(said, "errMsg"), text: text(said, "errMsg") };
  }

  // uni-app wants one text for Alipay, and an object with lower-case names for WeChat Pay.
  function uniOrder(args) {
    if (typeof args.orderStr === "string") return { provider: "alipay", orderInfo: args.orderStr };
    if (!args.prepayId) return args;
    var order = {}, names = { packageValue: "package", timeStamp: "timestamp" };
    Object.keys(args).forEach(function (name) { order[(names[name] || name).toLowerCase()] = args[name]; });
    order.timestamp = String(order.timestamp);
    return { provider: "wxpay", orderInfo: order };
  }

  function uni(params) {
    return withCallbacks(win.uni, "requestPayment", uniOrder(params.arguments), uniCode);
  }

  // By the source of a step. here: whether it can be called. call: a promise of {code, data, text}.
  var surfaces = {
    "jsapi:WeixinJSBridge": {
      here: function () { return win.WeixinJSBridge || agent(/MicroMessenger/) && !agent(/wxwork/i); },
      call: function (params) {
        return appear("WeixinJSBridge", "WeixinJSBridgeReady").then(function (object) {
          return new Promise(function (resolve) {
            object.invoke(params.method, params.arguments, function (said) { resolve({ code: text(said, "err_msg") }); });
          });
        });
      }
    },
    "jsapi:wx": {
      here: function () { return win.wx && win.wx.chooseWXPay; },
      call: function (params) { return withCallbacks(win.wx, params.method, params.arguments, message); }
    },
    "jsapi:AlipayJSBridge": {
      here: function () { return win.AlipayJSBridge || agent(/AlipayClient/); },
      call: function (params) {
        return appear("AlipayJSBridge", "AlipayJSBridgeReady").then(function (object) {
          return new Promise(function (resolve) {
            object.call(params.method, params.arguments, function (said) { resolve(resultCode(said)); });
          });
        });
      }
    },
    "jsapi:ap": {
      here: function () { return win.ap && win.ap.tradePay; },
      call: function (params) {
        return new Promise(function (resolve) {
          win.ap[params.method](params.arguments, function (said) { resolve(resultCode(said)); });
        });
      }
    },
    "mini_program:wechat": {
      here: function () { return win.wx && win.wx.requestPayment; },
      call: function (params) { return withCallbacks(win.wx, params.method, params.arguments, message); }
    },
    "mini_program:alipay": {
      here: function () { return win.my && win.my.tradePay; },
      call: function (params) { return withCallbacks(win.my, params.method, params.arguments, resultCode); }
    },
    "sdk:uni": {
      here: function () { return win.uni && win.uni.requestPayment; },
      call: uni
    }
  };

  // What a code means by a table. Total: what is not listed is unknown.
  function meaning(table, code) {
    var found = table && table.is && Object.keys(table.is).indexOf(code) >= 0 ? table.is[code] : null;
    (!found && table && table.has || []).forEach(function (row) {
      if (!found && code.indexOf(row[0]) >= 0) found = row.slice(1);
    });
    return found || ["unknown", "unlisted_code"];
  }

  var PLAIN = { has: [[":ok", "success_claimed"], ["cancel", "cancelled", "user"], [":fail", "failed"]] };

  // Run one step by a wallet's object. Resolves with a claim, at the latest after ms; null where the wallet is not here.
  function callWallet(source, params, table, payment, ms) {
    var surface = surfaces.hasOwnProperty(source) ? surfaces[source] : null;
    if (source.indexOf("sdk:") === 0 && !surface) surface = surfaces["sdk:uni"];
    if (!surface || !surface.here()) return Promise.resolve(null);
    function claim(said) {
      var meant = said ? meaning(/^sdk:/.test(source) && /^requestPayment:/.test(said.code) ? PLAIN : table, said.code) : ["unknown", "returned_without_result"];
      var made = { v: "1.0", payment_id: payment, outcome: meant[0], final: true, next: "confirm" };
      if (meant[1]) made.reason = meant[1];
      if (said) {
        made.raw = { source: source, code: said.code };
        if (said.data) made.raw.data = said.data;
        if (said.text) made.raw.text = said.text;
      }
      bridge.keep(made);
      return made;
    }
    return new Promise(function (resolve) {
      var timer = setTimeout(resolve, ms);
      Promise.resolve().then(function () { return surface.call(params); }).then(function (said) {
        clearTimeout(timer);
        resolve(said);
      }, function () {
        clearTimeout(timer);
        resolve({ code: "", text: "the wallet's object failed" });
      });
    }).then(claim);
  }

  bridge.surfaces = surfaces;
  bridge.meaning = meaning;
  bridge.callWallet = callWallet;
})(window);
