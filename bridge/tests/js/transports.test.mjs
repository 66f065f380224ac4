// Every transport, with the shell behind it and without: the same promises hold on all of them.
import assert from "node:assert/strict";
import test from "node:test";
import { BRIDGES, open } from "./bridges.mjs";
import { Refused, Shell, vector } from "./shell.mjs";
import { Page } from "./world.mjs";

const ANDROID = vector("alipay-android");
const clockOf = () => new Page({ scripts: [] }).clock;

async function finish(page, promise, ms = 20_000) {
  let value;
  let done = false;
  promise.then((found) => { value = found; done = true; });
  for (let passed = 0; passed < ms && !done; passed += 50) await page.clock.pass(50);
  assert.ok(done, `did not end within ${ms} ms`);
  return value;
}

async function connected(name, shell, more) {
  const page = open(name, shell, more);
  const hello = await finish(page, page.bridge.connect(BRIDGES[name].options));
  return { page, hello };
}

for (const name of Object.keys(BRIDGES)) {
  test(`${name}: greets, pays, resumes and acknowledges`, async () => {
    const shell = new Shell({ clock: clockOf() });
    const { page, hello } = await connected(name, shell);
    assert.equal(hello?.transport, BRIDGES[name].name || name);
    assert.equal(hello.shell.name, "Example");
    const claim = await finish(page, page.bridge.pay(ANDROID.envelope));
    assert.deepEqual(
      [claim.outcome, claim.next, claim.raw.code, claim.payment_id, shell.started],
      ["success_claimed", "confirm", "9000", "pa_0001", 1],
    );
    assert.equal(page.bridge.claimed("pa_0001").outcome, "success_claimed");
    assert.equal((await finish(page, page.bridge.resume("pa_0001"))).outcome, "success_claimed");
    await finish(page, page.bridge.ack("pa_0001"));
    assert.equal(page.bridge.claimed("pa_0001"), undefined);
    assert.deepEqual([shell.results.size, page.errors.length], [0, 0]);
  });

  test(`${name}: without a handler the page learns it soon and hangs nowhere`, async () => {
    const page = open(name, null, { clock: clockOf() });
    assert.equal(await finish(page, page.bridge.connect(BRIDGES[name].options), 5_000), null);
    const claim = await finish(page, page.bridge.pay(ANDROID.envelope), 5_000);
    assert.deepEqual([claim.outcome, claim.next], ["unknown", "next_step"]);
  });

  test(`${name}: a second use of an envelope is refused before the SDK`, async () => {
    const shell = new Shell({ clock: clockOf() });
    const { page } = await connected(name, shell);
    await finish(page, page.bridge.pay(ANDROID.envelope));
    const again = await finish(page, page.bridge.pay(ANDROID.envelope));
    assert.deepEqual([again.error.code, again.next, again.outcome, shell.started], [-32015, "resume", "unknown", 1]);
  });

  test(`${name}: an SDK that never answers ends as unknown, is asked again when the payer is back, and its late answer is taken`, async () => {
    let pay;
    const shell = new Shell({ clock: clockOf(), sdk: () => new Promise((resolve) => { pay = resolve; }) });
    const { page } = await connected(name, shell);
    const returns = [];
    page.bridge.on("return", (event) => returns.push(event.payment_id));
    const claim = await finish(page, page.bridge.pay(ANDROID.envelope, { timeout: 5_000 }), 6_000);
    assert.deepEqual([claim.outcome, claim.reason, claim.next], ["unknown", "returned_without_result", "confirm"]);
    assert.deepEqual(Array.from(page.bridge.started()), ["pa_0001"]);
    page.hide();
    page.show();
    await page.clock.pass(3_000);
    assert.deepEqual([returns, Array.from(page.bridge.started()), page.bridge.claimed("pa_0001")], [["pa_0001"], ["pa_0001"], undefined]);
    pay("6001");
    await page.clock.pass(3_000);
    assert.equal(page.bridge.claimed("pa_0001").outcome, "cancelled");
    assert.deepEqual(Array.from(page.bridge.started()), []);
  });

  test(`${name}: a page that died in the middle finds the result in its next life`, async () => {
    const shell = new Shell({ clock: clockOf(), sdk: () => new Promise((resolve) => shell.clock.set(resolve, 3_000, "9000")) });
    const { page } = await connected(name, shell);
    page.bridge.pay(ANDROID.envelope);
    await page.clock.pass(200);
    assert.equal(shell.started, 1);
    page.alive = false;
    const next = await connected(name, shell, { storage: page.storage });
    await shell.clock.pass(10_000);
    next.page.show();
    await shell.clock.pass(10_000);
    assert.equal(next.page.bridge.claimed("pa_0001").outcome, "success_claimed");
    assert.deepEqual([shell.started, page.storage.items.size > 0], [1, true]);
  });
}

test("calls of one burst arrive one by one where the bridge loses bursts", async () => {
  for (const name of ["jsbridge1", "jsbridge2", "wvjb"]) {
    const shell = new Shell({ clock: clockOf() });
    const { page } = await connected(name, shell);
    const asked = ["pa_1", "pa_2", "pa_3", "pa_4"].map((payment) => page.bridge.ack(payment));
    for (const answer of await finish(page, Promise.all(asked))) assert.ok(answer.result, name);
  }
});

test("a double tap is one call, and a refusal by the shell says what to do next", async () => {
  const moves = { [-32601]: "next_step", [-32010]: "refresh_plan", [-32011]: "next_step", [-32012]: "stop", [-32013]: "refresh_plan",
    [-32014]: "refresh_plan", [-32016]: "resume", [-32017]: "ask_tap", [-32019]: "stop" };
  for (const [code, move] of Object.entries(moves)) {
    const shell = new Shell({ clock: clockOf(), sdk: () => { throw new Refused(Number(code)); } });
    const { page } = await connected("wk", shell);
    const first = page.bridge.pay(ANDROID.envelope);
    assert.equal(page.bridge.pay(ANDROID.envelope), first);
    assert.equal((await finish(page, first)).next, move, code);
    assert.equal(shell.started, 1);
  }
});

test("nothing that is not for a call settles it", async () => {
  const shell = new Shell({ clock: clockOf(), sdk: () => new Promise(() => {}) });
  const { page } = await connected("wk", shell);
  const seen = [];
  page.bridge.on("result", (claim) => seen.push(claim.payment_id));
  let done = false;
  const paid = page.bridge.pay(ANDROID.envelope, { timeout: 60_000 });
  paid.then(() => { done = true; });
  await page.clock.pass(100);
  const noise = ["", "null", "[]", "{}", "nonsense", '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","id":"__proto__","result":{}}', '{"jsonrpc":"1.0","id":"x","result":{}}',
    '{"jsonrpc":"2.0","id":"nobody","error":{"code":-32603}}', '{"jsonrpc":"2.0","id":"nobody","result":{"v":"1.0"}}',
    '{"jsonrpc":"2.0","id":"nobody","result":{"payment_id":"pa_other","outcome":"success_claimed","final":true}}', undefined, null, 5, {}, []];
  for (const text of noise) page.bridge.receive(text);
  await page.clock.pass(100);
  assert.equal(done, false);
  assert.deepEqual(seen, ["pa_other"]);
  assert.equal(page.bridge.claimed("pa_other").outcome, "success_claimed");
  page.bridge.receive('{"jsonrpc":"2.0","method":"paycore.event","params":{"v":"1.0","type":"result","claim":{"payment_id":"pa_0001","outcome":"processing","final":true}}}');
  assert.equal((await finish(page, paid)).outcome, "processing");
});

test("a listener that throws takes nobody with it", async () => {
  const shell = new Shell({ clock: clockOf() });
  const { page } = await connected("wk", shell);
  page.bridge.on("result", () => { throw new Error("mine"); });
  const off = page.bridge.on("result", () => assert.fail("was taken off"));
  off();
  assert.equal((await finish(page, page.bridge.pay(ANDROID.envelope))).outcome, "success_claimed");
  await page.clock.pass(10);
  assert.deepEqual(page.errors.map((error) => error.message), ["mine"]);
});

test("without a storage everything works as long as the page lives", async () => {
  const shell = new Shell({ clock: clockOf() });
  const { page } = await connected("wk", shell);
  page.storage.broken = true;
  await finish(page, page.bridge.pay(ANDROID.envelope));
  assert.equal(page.bridge.claimed("pa_0001").outcome, "success_claimed");
});

test("what is kept is bounded in number and in age", async () => {
  const page = new Page();
  for (let number = 0; number < 100; number++) page.bridge.keep({ payment_id: `pa_${number}`, outcome: "failed", final: true });
  assert.equal(Object.keys(JSON.parse(page.storage.getItem("paycore.claims"))).length, 32);
  assert.equal(page.bridge.claimed("pa_99").outcome, "failed");
  await page.clock.pass(86_400_001);
  page.bridge.keep({ payment_id: "pa_new", outcome: "failed", final: true });
  assert.deepEqual(Object.keys(JSON.parse(page.storage.getItem("paycore.claims"))), ["pa_new"]);
});

test("in a plain browser there is no shell, and that is said within the time given", async () => {
  const page = new Page({ scripts: ["core", "hybrid", "jsbridge", "frames"] });
  const began = page.clock.now;
  assert.equal(await finish(page, page.bridge.connect(), 1_000), null);
  assert.ok(page.clock.now - began <= 400);
});

test("a shell that appears late is found, and one of another major version is passed over", async () => {
  const shell = new Shell({ clock: clockOf() });
  const late = open("wk", null, { clock: shell.clock });
  delete late.window.webkit;
  late.clock.set(() => BRIDGES.wk.install(late.window, late, shell), 200);
  assert.equal((await finish(late, late.bridge.connect())).transport, "wk");
  const newer = new Shell({ clock: clockOf() });
  newer.handle = async (text) => JSON.stringify({ jsonrpc: "2.0", id: JSON.parse(text).id, result: { v: ["2.0"], shell: { name: "N", version: "1", os: "ios" } } });
  const page = open("wk", newer);
  assert.equal(await finish(page, page.bridge.connect(), 3_000), null);
});

test("a waiting result is fetched when the page greets", async () => {
  const shell = new Shell({ clock: clockOf() });
  shell.results.set("pa_7", { v: "1.0", payment_id: "pa_7", outcome: "cancelled", final: true });
  const { page } = await connected("android_wml", shell);
  await page.clock.pass(1_000);
  assert.equal(page.bridge.claimed("pa_7").outcome, "cancelled");
});

test("Capacitor gives a result back after the process died", async () => {
  const shell = new Shell({ clock: clockOf() });
  const { page } = await connected("capacitor", shell);
  const claim = { v: "1.0", payment_id: "pa_8", outcome: "success_claimed", final: true };
  page.window.Capacitor.listeners["App.appRestoredResult"]({ pluginId: "Camera", data: { payload: "{}" } });
  page.window.Capacitor.listeners["App.appRestoredResult"]({
    pluginId: "PayCore", data: { payload: JSON.stringify({ jsonrpc: "2.0", id: "gone", result: claim }) },
  });
  assert.equal(page.bridge.claimed("pa_8").outcome, "success_claimed");
});

test("a frame hears its parent alone, takes its port, and never tells a star", async () => {
  const shell = new Shell({ clock: clockOf() });
  const { page } = await connected("postmessage", shell);
  const claim = (id) => JSON.stringify({ jsonrpc: "2.0", id: "x", result: { payment_id: id, outcome: "failed", final: true } });
  const parent = page.window.parent;
  page.window.dispatch("message", { source: {}, origin: "https://shop.example", data: { paycore: claim("a") } });
  page.window.dispatch("message", { source: parent, origin: "https://evil.example", data: { paycore: claim("b") } });
  page.window.dispatch("message", { source: parent, origin: "https://shop.example", data: "text" });
  assert.deepEqual([page.bridge.claimed("a"), page.bridge.claimed("b")], [undefined, undefined]);
  const said = [];
  const port = { postMessage: (text) => said.push(text) };
  page.window.dispatch("message", { source: parent, origin: "https://shop.example", data: { paycore: "" }, ports: [port] });
  page.bridge.ack("pa_1");
  assert.equal(said.length, 1);
  port.onmessage({ data: claim("c") });
  assert.equal(page.bridge.claimed("c").outcome, "failed");
  const star = open("postmessage", shell);
  assert.equal(await finish(star, star.bridge.connect({ parent: "*" }), 2_000), null);
});

test("a scheme that runs or reads something is never opened", async () => {
  for (const scheme of ["javascript", "data", "file", "https", "JAVA", "", "a b"]) {
    const page = open("uri_scheme", null, { clock: clockOf() });
    assert.equal(await finish(page, page.bridge.connect({ scheme }), 2_000), null);
    assert.deepEqual(page.frames, []);
  }
});

test("a result that comes in the page's address is read and taken out of it", async () => {
  const claim = { jsonrpc: "2.0", id: "gone", result: { payment_id: "pa_9", outcome: "cancelled", final: true, reason: "用户" } };
  const hash = `#paycore=${Buffer.from(JSON.stringify(claim)).toString("base64url")}`;
  const page = new Page({ scripts: ["core", "frames"], href: `https://pay.example/s/1${hash}` });
  await page.clock.pass(10);
  assert.equal(page.bridge.claimed("pa_9").reason, "用户");
  assert.equal(page.window.location.hash, "");
});

test("store purchases are listed and finished", async () => {
  const shell = new Shell({ clock: clockOf() });
  shell.transactions = [{ transaction_id: "t1", evidence: { type: "storekit2_jws", value: "a.b.c" } }];
  const { page } = await connected("wk", shell, { scripts: ["core", "store"] });
  assert.equal((await finish(page, page.bridge.unfinished()))[0].transaction_id, "t1");
  assert.equal(await finish(page, page.bridge.finish("t1", "pa_1")), true);
  assert.deepEqual([Array.from(await finish(page, page.bridge.unfinished())), shell.finished], [[], ["t1"]]);
  assert.equal(await finish(page, page.bridge.close("pa_1")), true);
});

test("a message that the frame queue lost is asked again under its id, and the SDK starts once", async () => {
  for (const name of ["jsbridge1", "jsbridge2", "uri_scheme"]) {
    const shell = new Shell({ clock: clockOf() });
    const { page } = await connected(name, shell);
    const whole = shell.handle.bind(shell);
    let lost = 0;
    shell.handle = (text, given) => (lost++ === 0 ? new Promise(() => {}) : whole(text, given));
    assert.equal((await finish(page, page.bridge.pay(ANDROID.envelope))).outcome, "success_claimed", name);
    assert.deepEqual([lost, shell.started], [2, 1], name);
    await page.clock.pass(10_000);
    assert.equal(lost, 2, "nobody asks after the answer");
  }
});

test("a bridge that breaks off after the call may have started something, one that throws has not", async () => {
  const shell = new Shell({ clock: clockOf() });
  const { page } = await connected("wk_reply", shell);
  const handler = page.window.webkit.messageHandlers.paycoreReply;
  handler.postMessage = () => Promise.reject(new Error("the web process lost its app"));
  const broken = await finish(page, page.bridge.pay(ANDROID.envelope));
  assert.deepEqual([broken.next, broken.outcome, Array.from(page.bridge.started())], ["confirm", "unknown", ["pa_0001"]]);
  handler.postMessage = () => { throw new TypeError("gone"); };
  const thrown = await finish(page, page.bridge.pay(ANDROID.envelope));
  assert.deepEqual([thrown.next, thrown.outcome, Array.from(page.bridge.started())], ["next_step", "unknown", []]);
});

test("a page that comes back whole from the browser's memory asks again", async () => {
  const shell = new Shell({ clock: clockOf(), sdk: () => new Promise(() => {}) });
  const { page } = await connected("wk", shell);
  page.bridge.pay(ANDROID.envelope, { timeout: 3_000 });
  await page.clock.pass(4_000);
  const returns = [];
  page.bridge.on("return", (event) => returns.push(event.payment_id));
  shell.restart();
  shell.results.set("pa_0001", { v: "1.0", payment_id: "pa_0001", outcome: "processing", final: true });
  page.window.dispatch("pageshow", { persisted: true });
  await page.clock.pass(3_000);
  assert.deepEqual([returns, page.bridge.claimed("pa_0001").outcome], [["pa_0001"], "processing"]);
});

test("an answer to pay that is no claim is no answer", async () => {
  const shell = new Shell({ clock: clockOf() });
  const { page } = await connected("wk", shell);
  shell.handle = async (text) => JSON.stringify({ jsonrpc: "2.0", id: JSON.parse(text).id, result: { ok: true } });
  const claim = await finish(page, page.bridge.pay(ANDROID.envelope, { timeout: 3_000 }));
  assert.deepEqual([claim.outcome, claim.reason], ["unknown", "returned_without_result"]);
});

test("a bridge that says that nobody listens is believed at once", async () => {
  for (const name of ["dsbridge_android", "dsbridge_ios", "flutter_inappwebview", "capacitor", "cordova", "arkweb"]) {
    const page = open(name, null, { clock: clockOf() });
    const began = page.clock.now;
    await finish(page, page.bridge.connect({ wait: 0, hello: 10_000 }), 12_000);
    assert.ok(page.clock.now - began < 1_000, name);
  }
});
