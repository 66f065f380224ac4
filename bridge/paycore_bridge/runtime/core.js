// paycore bridge: from a payment page to the native shell around it. One string out, one string in.
// A result is a claim: it chooses words and pace, the server asks the channel. No call hangs, no call rejects.
(function (win) {
  "use strict";
  var LATE = 9e5, DAY = 864e5;
  // What the page does after an error; everything else means the next step.
  var NEXT = {
    10: "refresh_plan", 12: "stop", 13: "refresh_plan", 14: "refresh_plan",
    15: "resume", 16: "resume", 17: "ask_tap", 18: "confirm", 19: "stop"
  };
  var doors = [], door, waiting = {}, paying = {}, listeners = {}, memory = {}, lastSent = 0, count = 0;

  // What must outlive the page: claims by payment, and the payments that were started and not heard of.
  function load(name) {
    try {
      return JSON.parse(win.localStorage.getItem("paycore." + name)) || {};
    } catch (e) {
      return memory[name] || {};
    }
  }

  function save(name, payment, value) {
    var all = load(name), now = Date.now();
    delete all[payment];
    if (value) all[payment] = { at: now, is: value };
    Object.keys(all).forEach(function (one, index, names) {
      if (index < names.length - 32 || !(now - all[one].at < DAY)) delete all[one];
    });
    memory[name] = all;
    try {
      win.localStorage.setItem("paycore." + name, JSON.stringify(all));
    } catch (e) {
      // A private window keeps it as long as the page lives.
    }
  }

  function on(type, listener) {
    var all = listeners[type] = listeners[type] || [];
    all.push(listener);
    return function () {
      all.splice(all.indexOf(listener), 1);
    };
  }

  function emit(type, value) {
    (listeners[type] || []).slice().forEach(function (listener) {
      try {
        listener(value);
      } catch (e) {
        setTimeout(function () { throw e; });
      }
    });
  }

  function coded(code) {
    return Object.assign(Error("bridge"), { code: code });
  }

  // Ask the shell. Resolves with {result} or {error}, at the latest after ms.
  function ask(method, params, ms, payment) {
    return new Promise(function (resolve) {
      var again, id = Array.from(win.crypto.getRandomValues(new Uint32Array(4)), function (n) {
        return (n + 4294967296).toString(36);
      }).join("");
      function settle(answer) {
        delete waiting[id];
        clearTimeout(timer);
        clearTimeout(again);
        resolve(answer);
      }
      function fail(error) {
        settle({ error: { code: error && error.code || -32603 } });
      }
      var timer = setTimeout(fail, Math.min(ms, 2e9), coded(-32018));
      if (!door) return fail(coded(-32011));
      waiting[id] = { settle: settle, payment: payment, method: method, started: function () { clearTimeout(again); } };
      var text = JSON.stringify({
        jsonrpc: "2.0", id: id, method: "paycore." + method, params: Object.assign({ v: "1.0" }, params)
      });
      send(text, fail);
      // An iframe queue loses messages; a shell runs one id once, so that asking again is safe.
      if (door.lossy && waiting[id]) again = setTimeout(send, 2500, text, fail);
    });
  }

  function send(text, fail) {
    var used = door, now = Date.now(), wait = used.lossy ? Math.max(0, lastSent + 30 - now) : 0;
    lastSent = now + wait;
    function go() {
      try {
        var back = used.send(text);
        if (back && back.then) back.then(receive, function (e) { fail(e && e.code < 0 ? e : coded(-32018)); });
        else receive(back);
      } catch (e) {
        fail(e);
      }
    }
    if (wait) setTimeout(go, wait);
    else go();
  }

  // What comes in, from any door, at any time: late, twice, for another payment, or nonsense.
  function receive(text) {
    try {
      var said = typeof text === "string" ? JSON.parse(text) : text;
    } catch (e) {
      return;
    }
    if (!said || said.jsonrpc !== "2.0") return;
    var call = Object.keys(waiting).indexOf(said.id) < 0 ? 0 : waiting[said.id], params = said.params || {};
    var claim = said.result || params.claim;
    if (claim && claim.payment_id && claim.outcome) heard(claim, call);
    else if (said.method) emit(params.type, params);
    else if (call && (said.error || !call.payment)) call.settle(said);
  }

  function heard(claim, call) {
    var payment = claim.payment_id, progress = claim.final === false;
    if (progress && call && call.payment === payment) {
      call.started();
      if (call.method === "resume") call.settle({ result: claim });
    }
    if (!progress) {
      save("claims", payment, claim);
      save("open", payment);
      Object.keys(waiting).forEach(function (id) {
        if (waiting[id].payment === payment) waiting[id].settle({ result: claim });
      });
    }
    emit(progress ? "progress" : "result", claim);
  }

  function read(payment, answer) {
    var error = answer.error;
    if (!error) return Object.assign({}, answer.result, { next: "confirm" });
    return {
      payment_id: payment, outcome: "unknown", final: true, error: error, next: NEXT[-32000 - error.code] || "next_step",
      reason: error.code === -32018 ? "returned_without_result" : "not_executed"
    };
  }

  function pay(envelope, options) {
    var claims = {};
    try {
      claims = JSON.parse(win.atob(envelope.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    } catch (e) {
      // The shell says what is wrong with it.
    }
    var payment = claims.payment_id, ends = claims.plan && claims.plan.expires_at;
    var ms = options && options.timeout || Math.min(LATE, ends ? Math.max(3e3, ends / 1e3 - Date.now()) : LATE);
    if (paying[payment]) return paying[payment];
    save("claims", payment);
    save("open", payment, 1);
    return paying[payment] = ask("pay", { envelope: envelope }, ms, payment).then(function (answer) {
      delete paying[payment];
      if (answer.error && answer.error.code !== -32018) save("open", payment);
      return read(payment, answer);
    });
  }

  function resume(payment) {
    return ask("resume", { payment_id: payment }, 5e3, payment).then(function (answer) {
      return read(payment, answer);
    });
  }

  // The payer is back, by whatever way. Most often nothing else says so.
  function woke() {
    if (win.document.hidden) return;
    Object.keys(load("open")).forEach(function (payment) {
      emit("return", { payment_id: payment });
      setTimeout(function () {
        if (door && load("open")[payment]) resume(payment);
      }, 1e3);
    });
  }

  // Find the shell and greet it. Resolves with its hello and the door's name, or null where there is none.
  function connect(options) {
    options = Object.assign({ wait: 300, hello: 1e3 }, options);
    var end = Date.now() + options.wait, tried = {};
    function next() {
      var one = doors.find(function (one) {
        return !tried[one.name] && (door = one.find(win, options));
      });
      if (one) {
        tried[one.name] = 1;
        return greet(door.name || one.name);
      }
      return Date.now() < end ? new Promise(function (resolve) { setTimeout(resolve, 25); }).then(next) : door = null;
    }
    function greet(name) {
      return ask("hello", { page: { origin: win.location.origin } }, options.hello).then(function (answer) {
        var shell = answer.result;
        if (!shell || !/(^|,)1\./.test(shell.v)) return next();
        [].concat(shell.pending || []).forEach(resume);
        return Object.assign({ transport: name }, shell);
      });
    }
    return Promise.resolve().then(next);
  }

  function webkit(name) {
    doors.push({ name: name === "paycore" ? "wk" : "wk_reply", find: function () {
      var handler = ((win.webkit || {}).messageHandlers || {})[name];
      return handler && { send: function (text) { return handler.postMessage(text); } };
    } });
  }

  webkit("paycoreReply");
  webkit("paycore");
  doors.push({ name: "native", find: function () {
    var object = win.PayCoreNative;
    if (!object) return;
    var checked = "onmessage" in object;
    if (checked) object.onmessage = function (event) { receive(event.data); };
    return {
      name: /ArkWeb/.test(win.navigator.userAgent) ? "arkweb" : checked ? "android_wml" : "android_iface",
      send: function (text) { return object.postMessage(text); }
    };
  } }, { name: "dsbridge", find: function () {
    var object = win._dsbridge;
    if (!object && !win._dswk && !/_dsbridge/.test(win.navigator.userAgent)) return;
    function call(method, said) {
      said = JSON.stringify(said);
      return object ? object.call(method, said) : win.prompt("_dsbridge=" + method, said);
    }
    // A call that has begun is answered with code -1 like one that nobody takes: only this question tells them apart.
    try {
      if (!JSON.parse(call("_dsb.hasNativeMethod", { data: { name: "paycore.invoke", type: "asyn" } })).data) return;
    } catch (e) {
      return;
    }
    return { send: function (text) {
      var stub = "dscbpc" + count++;
      win[stub] = receive;
      call("paycore.invoke", { data: text, _dscbstub: stub });
    } };
  } }, { name: "wvjb", find: function () {
    var bridge = win.WebViewJavascriptBridge;
    if (!bridge || !bridge.callHandler || bridge.paycore) return;
    return { lossy: 1, send: function (text) { bridge.callHandler("paycore", text, receive); } };
  } });

  win.addEventListener("pageshow", woke);
  win.document.addEventListener("visibilitychange", woke);

  win.PayCoreBridge = {
    doors: doors, coded: coded, receive: receive, keep: heard, connect: connect, on: on, ask: ask, pay: pay, resume: resume,
    claimed: function (payment) {
      return (load("claims")[payment] || {}).is;
    },
    started: function () {
      return Object.keys(load("open"));
    },
    ack: function (payment) {
      save("claims", payment);
      save("open", payment);
      return ask("ack", { payment_id: payment }, 3e3);
    }
  };
})(window);
