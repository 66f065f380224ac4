// Runs a plan in the page: the first step that can run here, else the next one. SDK -> wallet -> link -> page -> QR.
(function (win) {
  "use strict";
  var bridge = win.PayCoreBridge;
  var WEB = /^(https:\/\/[^\/?#@\\]+([\/?#]|$)|http:\/\/(localhost|127\.0\.0\.1)(:\d+)?([\/?#]|$))/;
  var NEVER = /^(https?|javascript|data|file|blob|about|filesystem|content|intent|view-source):/i;

  function bytes(text) {
    return win.atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  }

  // The claims of an envelope. The page need not check the seal: it has the envelope from its own server.
  function open(envelope) {
    return JSON.parse(decodeURIComponent(win.escape(bytes(envelope.split(".")[1]))));
  }

  function navigate(url) {
    win.location.assign(url);
  }

  function submit(form) {
    var made = win.document.createElement("form");
    made.method = form.method || "POST";
    made.action = form.url;
    form.fields.forEach(function (field) {
      var input = win.document.createElement("input");
      input.type = "hidden";
      input.name = field.name;
      input.value = field.value;
      made.appendChild(input);
    });
    win.document.body.appendChild(made);
    made.submit();
  }

  function mayOpen(url, opens) {
    if (WEB.test(url)) return true;
    var scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url);
    return !!scheme && !NEVER.test(url) && (!opens || opens.indexOf(scheme[1].toLowerCase()) >= 0);
  }

  // Whether the page went to the back within ms: the only sign that another app opened.
  function left(ms) {
    return new Promise(function (resolve) {
      function look() { if (win.document.hidden) done(true); }
      function done(gone) {
        clearTimeout(timer);
        win.document.removeEventListener("visibilitychange", look);
        resolve(gone);
      }
      var timer = setTimeout(done, ms, false);
      win.document.addEventListener("visibilitychange", look);
      look();
    });
  }

  // what: an envelope, or { plan, payment_id, results, opens }. options: target, has (what requires may name), shell (the
  // answer of connect), draw(content, step) for a QR code, now(), timeout. Resolves with { moved, step, claim }, where moved is
  // claim (an SDK or wallet answered), left (another page or app has the payer), shown (a code), waiting (nothing to do here)
  // or stuck (no step of the plan runs here).
  function run(what, options) {
    options = options || {};
    var sealed = typeof what === "string" ? what : what.envelope, claims;
    try {
      claims = sealed ? open(sealed) : what;
    } catch (e) {
      return Promise.resolve({ moved: "stuck", reason: "the envelope cannot be read" });
    }
    var steps = claims.plan.steps, has = ["browser"].concat(options.has || [], options.shell && options.shell.capabilities || []);
    var now = options.now || Date.now, askedShell = false, lastClaim = null;

    function mayRun(step) {
      return (step.target === "any" || step.target === options.target) &&
        !(step.expires_at && step.expires_at / 1000 <= now()) &&
        !(claims.plan.expires_at && claims.plan.expires_at / 1000 <= now()) &&
        step.requires.every(function (one) { return has.indexOf(one) >= 0; });
    }

    function from(index) {
      if (index >= steps.length) return Promise.resolve({ moved: "stuck", claim: lastClaim });
      var step = steps[index];
      if (!mayRun(step)) return from(index + 1);
      return start(step, JSON.parse(step.params_json), index).then(function (end) {
        return end ? Object.assign({ step: index }, end) : from(index + 1);
      });
    }

    function ended(claim) {
      if (!claim) return null;
      lastClaim = claim;
      return claim.outcome === "not_installed" || claim.next === "next_step" ? null : { moved: "claim", claim: claim };
    }

    function wallet(step, params) {
      var source = step.kind + ":" + (params.bridge || params.host || params.sdk);
      if (!bridge.callWallet) return Promise.resolve(null);
      return bridge.callWallet(source, params, (claims.results || {})[source], claims.payment_id, options.timeout || 9e5).then(ended);
    }

    function start(step, params, index) {
      switch (step.kind) {
        case "sdk":
        case "store_purchase":
          // The shell gets the whole envelope, checks it and chooses among the native steps itself.
          if (options.shell && sealed && !askedShell) {
            askedShell = true;
            return bridge.pay(sealed, { timeout: options.timeout }).then(ended);
          }
          return options.shell || step.kind !== "sdk" ? Promise.resolve(null) : wallet(step, params);
        case "jsapi":
        case "mini_program":
          return wallet(step, params);
        case "link":
          if (!mayOpen(params.url, claims.opens)) return Promise.resolve(null);
          navigate(params.url);
          return left(2500).then(function (gone) { return gone ? { moved: "left" } : null; });
        case "redirect":
          if (!WEB.test(params.url)) return Promise.resolve(null);
          navigate(params.url);
          return Promise.resolve({ moved: "left" });
        case "form":
          if (!WEB.test(params.url)) return Promise.resolve(null);
          submit(params);
          return Promise.resolve({ moved: "left" });
        case "qr":
          if (!options.draw) return Promise.resolve(null);
          return Promise.resolve(options.draw(params.content, step, index)).then(function () { return { moved: "shown" }; });
        case "none":
          return Promise.resolve({ moved: "waiting" });
        default:
          // A kind that is newer than this page.
          return Promise.resolve(null);
      }
    }

    return from(0);
  }

  bridge.run = run;
  bridge.open = open;
})(window);
