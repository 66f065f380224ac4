// The cashier's page in a world that goes wrong by a script: a server, an app with an SDK, a payer, and a clock that the script
// turns. Everything between them may be lost, late, doubled, foreign or nonsense; the engine and its document are real.
// `story(script)` plays one and gives what was seen; whatever must never be is in `problems`.
(function () {
  "use strict";
  const START = 1_795_375_803_000;
  const real = { setTimeout: window.setTimeout };
  const OUTCOMES = { 9000: "success_claimed", 8000: "processing", 6001: "cancelled", 4000: "failed", 5000: "unknown" };
  const RESULTS = { "sdk:alipay": { is: Object.fromEntries(Object.entries(OUTCOMES).map(([code, word]) => [code, [word]])) } };

  // ---------------------------------------------------------------------------------------------- the clock

  const clock = { now: START, timers: new Map(), next: 1, life: 0 };
  const later = (run, ms, more) => {
    const id = clock.next++;
    clock.timers.set(id, { at: clock.now + Math.max(0, ms || 0), run, ...more });
    return id;
  };
  // The page's own timers end with the page.
  window.setTimeout = (run, ms, ...given) => later(() => run(...given), ms, { life: clock.life });
  window.setInterval = (run, ms, ...given) => later(() => run(...given), ms, { life: clock.life, every: ms });
  window.clearTimeout = window.clearInterval = (id) => clock.timers.delete(id);
  Date.now = () => Math.floor(clock.now);
  AbortSignal.timeout = (ms) => {
    const made = new AbortController();
    setTimeout(() => made.abort(), ms);
    return made.signal;
  };
  const sleep = (ms) => new Promise((done) => later(done, ms));

  async function settle() {
    for (let turn = 0; turn < 60; turn++) await null;
  }

  async function pass(ms, look) {
    const end = clock.now + ms;
    await settle();
    for (;;) {
      let due = null;
      for (const [id, timer] of clock.timers) if (timer.at <= end && (!due || timer.at < due[1].at)) due = [id, timer];
      if (!due) break;
      const [id, timer] = due;
      clock.now = Math.max(clock.now, timer.at);
      if (timer.every) timer.at += timer.every;
      else clock.timers.delete(id);
      timer.run();
      await settle();
      look();
    }
    clock.now = end;
    await settle();
    look();
  }

  // ---------------------------------------------------------------------------------------------- the server

  class Server {
    constructor(script) {
      Object.assign(this, { net: [...script.net], streams: [...script.streams], preparing: [...script.preparing], state: "STATE_PENDING", version: 1 });
      Object.assign(this, { payments: [], byRequest: new Map(), submits: [], pictures: 0, reports: [], watchers: new Set(), isCalm: false });
    }

    next() {
      return (!this.isCalm && this.net.shift()) || { how: "ok", ms: 0 };
    }

    session() {
      const open = this.payments.at(-1);
      if (open?.action) open.action = this.action(open); // sealed anew for everyone who asks
      const amount = { amountMinor: "12800", currencyCode: "CNY" };
      const way = (method, name, scene) => ({
        channel: "alipay", method, scene, displayNameZh: name, displayNameEn: name, amount, availability: "AVAILABILITY_AVAILABLE",
      });
      return structuredClone({
        orderId: "or_1", orderState: this.state, version: String(this.version), subject: "tea", amount,
        options: [way("app", "Alipay", "app"), way("qr", "Alipay QR", "qr")], payment: this.payments.at(-1),
      });
    }

    // What a call does, whatever becomes of its answer.
    serve(name, body) {
      if (name === "GetCashierSession") return { session: this.session() };
      if (name === "SubmitPayment") return this.submit(body);
      this.reports.push([body.paymentId, body.outcome.replace("CLIENT_OUTCOME_", "").toLowerCase()]);
      later(() => this.learn(), 2_000);
      return {};
    }

    submit({ requestId, channel, method }) {
      this.submits.push({ requestId, method });
      if (this.state !== "STATE_PENDING") return { error: "failed_precondition" };
      let payment = this.byRequest.get(requestId);
      const open = this.payments.at(-1);
      if (!payment && open?.state === "STATE_PENDING" && open.method === method && method === "app") payment = open;
      if (!payment) {
        const number = this.payments.length + 1;
        const expireTime = new Date(clock.now + (method === "qr" ? 120_000 : 3_600_000)).toISOString();
        payment = { paymentId: `py_${number}`, channel, method, state: "STATE_PENDING", isActionReady: false, expireTime, amount: { amountMinor: "12800", currencyCode: "CNY" } };
        this.payments.push(payment);
        this.prepare(payment, this.preparing.shift() || 0);
      }
      this.byRequest.set(requestId, payment);
      if (payment.action) payment.action = this.action(payment);
      return structuredClone({ version: String(this.version), orderState: this.state, payment });
    }

    // What the device must do is there at once, or when the channel has answered.
    prepare(payment, ms) {
      const done = () => {
        Object.assign(payment, { isActionReady: true, action: this.action(payment) });
        this.change();
      };
      if (ms) later(done, ms);
      else done();
    }

    action(payment) {
      const code = { kind: "qr", target: "any", requires: [], paramsJson: JSON.stringify({ content: "https://qr.example/1" }) };
      const sdk = { kind: "sdk", target: "android", requires: [], paramsJson: JSON.stringify({ sdk: "alipay", arguments: { orderStr: "a=1" } }) };
      const isQr = payment.method === "qr";
      const steps = isQr ? [code] : [sdk, code];
      const expireTime = new Date(Math.min(clock.now + 300_000, Date.parse(payment.expireTime))).toISOString();
      const sealed = {
        payment_id: payment.paymentId, jti: crypto.randomUUID(), results: RESULTS,
        plan: { expires_at: Date.parse(expireTime) * 1000, steps: steps.map(({ paramsJson, ...step }) => ({ ...step, params_json: paramsJson })) },
      };
      return { steps, expireTime, envelope: isQr ? "" : `h.${btoa(JSON.stringify(sealed))}.s` };
    }

    change() {
      this.version++;
      for (const watcher of this.watchers) watcher();
    }

    // What the channel says when it is asked, or tells by itself.
    learn() {
      const paid = this.payments.find((payment) => payment.isPaid);
      if (!paid || this.state === "STATE_PAID") return;
      paid.state = "STATE_SUCCEEDED";
      this.state = "STATE_PAID";
      this.change();
    }

    pay(payment) {
      payment.isPaid = true;
      later(() => this.learn(), 4_000);
    }

    async fetch(url, { body, signal, headers }) {
      const name = url.split("/").at(-1);
      const { how, ms } = this.next();
      const gone = new Promise((_, fail) => signal?.addEventListener("abort", () => fail(new TypeError("aborted"))));
      gone.catch(() => {});
      const answer = async () => {
        await sleep(20 + (how === "slow" ? ms : 0));
        if (how === "lost") throw new TypeError("offline");
        if (how === "error") return reply(503, { code: "unavailable" });
        if (how === "never") await new Promise(() => {});
        if (/^py_/.test(name)) this.pictures++;
        if (/^py_/.test(name)) return reply(200, { size: 29, path: "M4 4h1" });
        if (name === "WatchCashierSession") return this.watch(JSON.parse(new TextDecoder().decode(body.subarray(5))), signal);
        const said = this.serve(name, JSON.parse(body));
        if (how === "stale") await sleep(ms);
        if (how === "unheard") throw new TypeError("offline");
        return said.error ? reply(400, { code: said.error }) : reply(200, said);
      };
      return Promise.race([answer(), gone]);
    }

    watch({ resumeAfter }, signal) {
      const { how, ms } = (!this.isCalm && this.streams.shift()) || { how: "ok", ms: 0 };
      let [seen, isOpen, wake] = [Number(resumeAfter || 0), true, () => {}];
      const frames = [];
      const push = (message) => {
        if (how === "silent" && clock.now > began + ms) return;
        frames.push(message);
        wake();
      };
      const began = clock.now;
      const tell = () => {
        if (!isOpen || this.version <= seen) return;
        seen = this.version;
        const session = this.session();
        if (session.payment?.action) session.payment.action.envelope = ""; // good once: no stream brings it
        push({ session });
        if (this.state === "STATE_PAID") push({ end: {} });
      };
      const beat = () => isOpen && (push({ heartbeat: { serverTime: new Date(clock.now).toISOString() } }), later(beat, 10_000));
      const stop = () => {
        isOpen = false;
        this.watchers.delete(tell);
        wake();
      };
      this.watchers.add(tell);
      later(tell, 1);
      later(beat, 10_000);
      if (how === "broken") later(stop, ms);
      if (how === "ended") later(() => push({ end: {} }), ms);
      signal.addEventListener("abort", stop);
      const read = async () => {
        while (!frames.length && isOpen) await new Promise((done) => { wake = done; });
        if (!frames.length) return { done: true };
        const text = new TextEncoder().encode(JSON.stringify(frames.shift()));
        const value = new Uint8Array(5 + text.length);
        new DataView(value.buffer).setUint32(1, text.length);
        value.set(text, 5);
        return { done: false, value };
      };
      return { ok: true, status: 200, headers: { get: () => null }, body: { getReader: () => ({ read, cancel: async () => stop() }) } };
    }
  }

  function reply(status, said) {
    const date = new Date(clock.now).toUTCString();
    return { ok: status === 200, status, headers: { get: (name) => (name === "date" ? date : null) }, json: async () => structuredClone(said) };
  }

  // ---------------------------------------------------------------------------------------------- the app

  class App {
    constructor(script, server) {
      Object.assign(this, { faults: [...script.shell], codes: [...script.sdk], server, isCalm: false });
      Object.assign(this, { used: new Set(), calls: new Map(), results: new Map(), open: new Set(), started: [], said: {}, twice: 0 });
    }

    hear(text) {
      const call = JSON.parse(text);
      const { how, ms } = (!this.isCalm && this.faults.shift()) || { how: "ok", ms: 0 };
      if (how === "deaf") return;
      if (!this.calls.has(call.id)) this.calls.set(call.id, this.run(call));
      if (how === "dies") later(() => { this.calls.clear(); this.open.clear(); }, ms);
      this.calls.get(call.id).then(async (answered) => {
        if (how === "late") await sleep(ms);
        const said = JSON.stringify({ jsonrpc: "2.0", id: call.id, ...answered });
        const claim = answered.result?.payment_id ? answered.result : null;
        switch (how) {
          case "lost": case "dies": return;
          case "twice": this.tell(said); later(() => this.tell(said), ms); return;
          case "wrong id": this.tell(JSON.stringify({ jsonrpc: "2.0", id: "nobody", ...answered })); return;
          case "another's": this.tell(JSON.stringify({ jsonrpc: "2.0", id: call.id, result: { ...claim, v: ["1.0"], payment_id: "py_other", outcome: "success_claimed", final: true } })); return;
          case "rubbish": for (const one of [said.slice(0, 20), "null", "[]", '{"jsonrpc":"2.0","id":null}', `{"jsonrpc":"2.0","id":"${call.id}"}`]) this.tell(one); return;
          case "strange": this.tell(JSON.stringify({ jsonrpc: "2.0", id: call.id, result: { v: "1.0", shell: null, channels: { alipay: null }, pending: "x", capabilities: 5 } })); return;
          default: this.tell(said);
        }
      });
    }

    tell(text) {
      try {
        const said = JSON.parse(text);
        const claim = said.result;
        if (claim?.payment_id) (this.said[claim.payment_id] ??= new Set()).add(claim.outcome);
      } catch { /* rubbish */ }
      window.PayCoreBridge?.receive(text);
    }

    async run({ method, params }) {
      await sleep(5);
      if (method === "paycore.hello")
        return { result: { v: ["1.0"], shell: { name: "Shop", version: "1", os: "android" }, methods: [], pending: [...this.results.keys()], capabilities: ["alipay.sdk"] } };
      if (method === "paycore.pay") return this.pay(JSON.parse(atob(params.envelope.split(".")[1])));
      const unknown = { payment_id: params.payment_id, outcome: "unknown", final: true, reason: "no_such_payment" };
      if (method === "paycore.resume") return { result: this.results.get(params.payment_id) ?? { ...unknown, final: !this.open.has(params.payment_id) } };
      this.results.delete(params.payment_id);
      return { result: { v: "1.0" } };
    }

    async pay({ payment_id: id, jti }) {
      if (this.used.has(jti)) return { error: { code: -32015, message: "used" } };
      if (this.open.size) return { error: { code: -32016, message: "busy" } };
      this.used.add(jti);
      this.open.add(id);
      this.started.push(id);
      const { code, pays, ms } = this.codes.shift() || { code: "6001", pays: false, ms: 1_000 };
      await sleep(ms);
      if (pays) this.server.pay(this.server.payments.find((payment) => payment.paymentId === id));
      const claim = { v: "1.0", payment_id: id, step: 0, outcome: OUTCOMES[code], final: true, raw: { source: "sdk:alipay", code } };
      if (this.open.delete(id)) this.results.set(id, claim);
      return { result: claim };
    }
  }

  // ---------------------------------------------------------------------------------------------- the page and its payer

  let heard = []; // what the present page listens to, to be let go with it

  class Tab {
    constructor(server, app, problems) {
      Object.assign(this, { server, app, problems, life: 0, loads: 0, pays: 0, again: 0, calls: [] });
    }

    load() {
      this.leave();
      this.loads++;
      this.wasPaid = false;
      const life = (clock.life = ++this.life);
      window.fetch = (url, options) => new Promise((done, fail) => {
        this.server.fetch(url, options).then((answer) => this.life === life && done(answer), (error) => this.life === life && fail(error));
      });
      if (this.app) window.PayCoreNative = { postMessage: (text) => { if (this.life === life) this.app.hear(text); } };
      this.start();
      this.element = document.createElement("paycore-cashier");
      for (const [name, value] of [["session", "cs_1"], ["lang", "en"], ["hosted", ""]]) this.element.setAttribute(name, value);
      document.body.append(this.element);
    }

    // The runtime as a page's script starts it.
    start() {
      const kept = [window, document].map((target) => [target, target.addEventListener]);
      for (const [target, add] of kept)
        target.addEventListener = (type, listener, options) => {
          heard.push([target, type, listener]);
          add.call(target, type, listener, options);
        };
      (0, eval)(window.RUNTIME);
      for (const [target] of kept) delete target.addEventListener;
      for (const name of ["ask", "pay", "run", "connect"]) {
        const run = window.PayCoreBridge[name];
        window.PayCoreBridge[name] = (...given) => {
          const call = { name, began: clock.now, life: this.life, isDone: false };
          this.calls.push(call);
          const started = this.app?.started.length;
          const end = run(...given);
          Promise.resolve(end).then((found) => {
            call.isDone = true;
            if (name === "run" && this.app?.started.length > started && found.moved !== "claim") this.problems.push(`the plan goes on (${found.moved}) while the SDK may be open`);
          }, (error) => this.problems.push(`${name} rejects: ${error}`));
          return end;
        };
      }
    }

    leave() {
      this.element?.remove();
      for (const [target, type, listener] of heard) target.removeEventListener(type, listener);
      heard = [];
      for (const [id, timer] of clock.timers) if (timer.life === this.life) clock.timers.delete(id);
      this.life++;
      delete window.PayCoreBridge;
      delete window.PayCoreNative;
    }

    get box() { return this.element.shadowRoot.querySelector(".box"); }
    get view() { return this.box.dataset.view; }
    find(id) { return this.element.shadowRoot.getElementById(id); }

    press(id) {
      const button = this.find(id);
      if (!button) return;
      if ((id === "pay" || id === "renew") && !button.hasAttribute("aria-disabled")) this.pays++;
      if (id === "again") this.again++;
      button.click();
    }

    do(act) {
      switch (act) {
        case "pay": this.press("pay"); break;
        case "pay twice": this.press("pay"); this.press("pay"); break;
        case "again": this.press("again"); break;
        case "other": this.press("other"); break;
        case "renew": this.press("renew"); break;
        case "switch": this.element.shadowRoot.querySelector("input[type=radio]:not(:checked)")?.click(); break;
        case "hide": this.see("hidden"); break;
        case "show": this.see("visible"); break;
        case "back": window.dispatchEvent(new Event("pageshow")); break;
        case "online": window.dispatchEvent(new Event("online")); break;
        case "reload": this.load(); break;
        case "scan": {
          const open = this.server.payments.at(-1);
          if (open?.method === "qr" && open.state === "STATE_PENDING") this.server.pay(open);
        }
      }
    }

    see(how) {
      Object.defineProperty(document, "visibilityState", { value: how, configurable: true });
      Object.defineProperty(document, "hidden", { value: how === "hidden", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }

    // What must hold at every instant. A code that ran out is renewed three times by each page that somebody looks at.
    look() {
      const { server, app, problems } = this;
      const says = (text) => problems.includes(text) || problems.push(text);
      if ((this.view === "paid" || /Payment complete/.test(this.box.textContent)) && server.state !== "STATE_PAID") says("it says paid, and the server does not");
      if (this.wasPaid && this.view !== "paid") says("it said paid, and took it back");
      this.wasPaid = this.view === "paid";
      const byApp = server.submits.filter((one) => one.method === "app").length;
      if (byApp > this.pays || server.submits.length > this.pays + 3 * this.loads) says(`${byApp} and in all ${server.submits.length} payments were asked for by ${this.pays} taps`);
      if (app && app.started.length > this.pays + this.again) says(`the SDK was started ${app.started.length} times by ${this.pays + this.again} taps`);
    }
  }

  // ---------------------------------------------------------------------------------------------- a story

  window.story = async (script) => {
    localStorage.clear();
    sessionStorage.clear();
    clock.timers.clear();
    clock.now = START;
    const problems = [];
    const trouble = (event) => problems.push(`a script fails: ${event.reason ?? event.message}`);
    window.addEventListener("unhandledrejection", trouble);
    window.addEventListener("error", trouble);
    const server = new Server(script);
    const app = script.shell ? new App({ ...script, shell: script.shell }, server) : null;
    const tab = new Tab(server, app, problems);
    const look = () => tab.look();
    tab.see("visible");
    tab.load();
    await pass(2_000, look);
    for (const [act, ms] of script.acts) {
      tab.do(act);
      await pass(ms, look);
    }
    // The faults are over; the payer looks at the page.
    server.isCalm = true;
    if (app) app.isCalm = true;
    if (document.hidden) tab.see("visible");
    await pass(420_000, look);
    finish(tab, problems);
    const view = tab.view;
    tab.leave();
    await new Promise((done) => real.setTimeout.call(window, done, 5)); // what nobody caught is told only now
    window.removeEventListener("unhandledrejection", trouble);
    window.removeEventListener("error", trouble);
    return { problems, view, submits: server.submits.length, started: app?.started.length ?? 0, state: server.state, reports: server.reports, pictures: server.pictures };
  };

  // What must hold when the dust has settled.
  function finish(tab, problems) {
    const { server, app } = tab;
    const isPaid = server.payments.some((payment) => payment.isPaid);
    if (isPaid && tab.view !== "paid") problems.push(`the order is paid and the page says ${tab.view}`);
    if (tab.view === "loading" || tab.view === "lost") problems.push(`the page is ${tab.view}`);
    if (tab.find("pay")?.hasAttribute("aria-disabled")) problems.push("the button says for ever that it is paying");
    for (const call of tab.calls) if (!call.isDone && call.life === tab.life) problems.push(`${call.name} has not ended after ${clock.now - call.began} ms`);
    for (const [payment, outcome] of server.reports)
      if (outcome !== "unknown" && !app?.said[payment]?.has(outcome)) problems.push(`${outcome} was reported for ${payment}, of which nobody said so`);
    const claims = JSON.parse(localStorage.getItem("paycore.claims") || "{}");
    for (const [payment, { is }] of Object.entries(claims))
      if (is.payment_id !== payment || !app?.said[payment]?.has(is.outcome)) problems.push(`a claim of ${is.payment_id} is kept for ${payment}`);
    if (new Set(server.submits.map((one) => one.requestId)).size < new Set(server.payments.map((one) => one.paymentId)).size) problems.push("one request made two payments");
  }
})();
