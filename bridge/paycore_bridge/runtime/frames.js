// A page inside another page, and apps that can only be reached by their own scheme. Both want to be named in connect.
(function (win) {
  "use strict";
  var bridge = win.PayCoreBridge, port;

  // connect({ parent: "https://shop.example" }): that origin exactly. The host answers with a port; then only the port speaks.
  bridge.doors.push({ name: "postmessage", find: function (w, options) {
    var origin = options.parent;
    if (!origin || origin === "*" || win.parent === win) return;
    win.addEventListener("message", function (event) {
      if (event.source !== win.parent || event.origin !== origin || !event.data || event.data.paycore === undefined) return;
      if (event.ports && event.ports[0]) {
        port = event.ports[0];
        port.onmessage = function (said) { bridge.receive(said.data); };
      }
      bridge.receive(event.data.paycore);
    });
    return { send: function (text) {
      if (port) port.postMessage(text);
      else win.parent.postMessage({ paycore: text }, origin);
    } };
  } });

  function encoded(text) {
    var bytes = win.unescape(encodeURIComponent(text));
    return win.btoa(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }

  // connect({ scheme: "shoppay" }): the app answers by evaluating PayCoreBridge.receive, or by opening the page with #paycore=.
  bridge.doors.push({ name: "uri_scheme", find: function (w, options) {
    if (!/^[a-z][a-z0-9+.-]*$/.test(options.scheme || "") || /^(javascript|data|file|blob|about|https?)$/.test(options.scheme)) return;
    return { lossy: 1, send: function (text) {
      var frame = win.document.createElement("iframe");
      frame.style.display = "none";
      frame.src = options.scheme + "://invoke?d=" + encoded(text);
      win.document.documentElement.appendChild(frame);
      setTimeout(function () { frame.remove(); }, 500);
    } };
  } });

  function fromAddress() {
    var found = /[#&]paycore=([A-Za-z0-9_-]+)/.exec(win.location.hash || "");
    if (!found) return;
    try {
      bridge.receive(decodeURIComponent(win.escape(win.atob(found[1].replace(/-/g, "+").replace(/_/g, "/")))));
    } catch (e) {
      // Not ours, or cut off on the way; the server knows.
    }
    win.history.replaceState(win.history.state, "", win.location.href.split("#")[0]);
  }
  win.addEventListener("hashchange", fromAddress);
  setTimeout(fromAddress, 0);
})(window);
