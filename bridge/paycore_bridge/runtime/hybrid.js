// The containers of cross-platform frameworks: Capacitor, Cordova, React Native, Flutter (two).
(function (win) {
  "use strict";
  var bridge = win.PayCoreBridge;

  function payload(said) {
    return said && said.payload;
  }

  function capacitor() {
    var object = win.Capacitor;
    if (!object || !object.nativePromise) return;
    // After the app's process died, an answer comes by this event and not by the promise.
    if (object.addListener && !capacitor.listens) {
      capacitor.listens = 1;
      object.addListener("App", "appRestoredResult", function (event) {
        if (event.pluginId === "PayCore") bridge.receive(payload(event.data));
      });
    }
    return { send: function (text) {
      return object.nativePromise("PayCore", "invoke", { payload: text }).then(payload, function (error) {
        throw /UNIMPLEMENTED|UNAVAILABLE/.test(error && error.code) ? bridge.coded(-32601) : error;
      });
    } };
  }

  function cordova() {
    if (!win.cordova || !win.cordova.exec) return;
    return { send: function (text) {
      return new Promise(function (resolve, reject) {
        win.cordova.exec(resolve, function (error) {
          reject(/^(Class not found|Invalid action)/i.test(error) ? bridge.coded(-32601) : error);
        }, "PayCore", "invoke", [text]);
      });
    } };
  }

  var hears = 0;
  function reactNative() {
    var object = win.ReactNativeWebView;
    if (!object) return;
    // Old apps answer with a message event. The strings that are not ours are passed over by receive.
    if (!hears++) [win, win.document].forEach(function (one) {
      one.addEventListener("message", function (event) {
        if (typeof event.data === "string" && (!event.source || event.source === win)) bridge.receive(event.data);
      });
    });
    return { send: function (text) { object.postMessage(text); } };
  }

  function flutter() {
    var object = win.flutter_inappwebview;
    if (!object || !object.callHandler) return;
    return { send: function (text) {
      return object.callHandler("paycore", text).then(function (said) {
        // It answers null where no handler is.
        if (said === null) throw bridge.coded(-32601);
        return said;
      });
    } };
  }

  bridge.doors.push(
    { name: "capacitor", find: capacitor },
    { name: "cordova", find: cordova },
    { name: "flutter_inappwebview", find: flutter },
    { name: "flutter_channel", find: function () {
      var object = win.PayCore;
      return object && object.postMessage && { send: function (text) { object.postMessage(text); } };
    } },
    { name: "react_native", find: reactNative }
  );
})(window);
