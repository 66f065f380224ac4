// JsBridge 2.x, and the set-up of WebViewJavascriptBridge where the page has to ask for it: connect({ setup: true }).
(function (win) {
  "use strict";
  var bridge = win.PayCoreBridge;

  bridge.doors.push({ name: "jsbridge2", find: function () {
    var object = win.WebViewJavascriptBridge;
    if (!object || !object.paycore || !object.callHandler) return;
    // It writes a callback id into what it is given, so that this must be an object of its own, never null.
    return { lossy: 1, send: function (text) { object.callHandler("paycore", { payload: text }, bridge.receive); } };
  } });

  // iOS injects its bridge only after this frame was asked for; in a browser of strangers nobody answers.
  bridge.doors.unshift({ name: "wvjb_setup", find: function (w, options) {
    if (!options.setup || win.WebViewJavascriptBridge || win.WVJBCallbacks) return;
    win.WVJBCallbacks = [function () {}];
    var frame = win.document.createElement("iframe");
    frame.style.display = "none";
    frame.src = "https://__bridge_loaded__";
    win.document.documentElement.appendChild(frame);
    setTimeout(function () { frame.remove(); }, 0);
  } });
})(window);
