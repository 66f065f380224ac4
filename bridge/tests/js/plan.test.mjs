// The plan's order in a page, and the wallets' own objects behaving as theirs do.
import assert from "node:assert/strict";
import test from "node:test";
import { BRIDGES } from "./bridges.mjs";
import { Refused, Shell, vector } from "./shell.mjs";
import { Page } from "./world.mjs";

const ALL = ["core", "wallets", "plan"];
const NOW = 1_795_375_803_000;
const TABLES = {
  "jsapi:WeixinJSBridge": { is: { "get_brand_wcpay_request:ok": ["success_claimed"] }, has: [["cancel", "cancelled", "user"], ["get_brand_wcpay_request:fail", "failed"]] },
  "sdk:wechat.open": { is: { "-2": ["cancelled", "user"], "-1": ["failed"] } },
  "sdk:alipay": { is: { 9000: ["success_claimed"] } },
};
const step = (kind, params, more = {}) => ({ kind, target: "any", requires: [], params_json: JSON.stringify(params), ...more });
const plan = (...steps) => ({ plan: { v: 1, steps }, payment_id: "pa_1", results: TABLES });
const QR = step("qr", { content: "https://qr.example/1" });

async function run(page, what, options) {
  let end;
  page.bridge.run(what, options).then((found) => { end = found; });
  for (let passed = 0; passed < 20_000 && !end; passed += 50) await page.clock.pass(50);
  assert.ok(end, "the plan hangs");
  return end;
}

async function inShell(sdk, has) {
  const clock = new Page({ scripts: [] }).clock;
  const shell = new Shell({ clock, sdk, ...(has ? { has } : {}) });
  const page = new Page({ scripts: ALL, clock, install: (window, one) => BRIDGES.wk.install(window, one, shell) });
  let hello;
  page.bridge.connect().then((found) => { hello = found; });
  await clock.pass(500);
  return { page, shell, hello };
}

test("in a shell the SDK is called and its claim is the end", async () => {
  const { page, shell, hello } = await inShell(() => "6001");
  const end = await run(page, vector("alipay-android").envelope, { target: "android", shell: hello });
  assert.deepEqual([end.moved, end.step, end.claim.outcome, shell.started], ["claim", 0, "cancelled", 1]);
});

test("what the shell cannot run falls to the link, then the page, then the code", async () => {
  const without = { target: "android", has: [], now: () => NOW };
  const envelope = vector("alipay-android").envelope;
  const page = new Page({ scripts: ALL });
  const end = await run(page, envelope, without);
  // The link opened nothing: the page stayed in front, and so the browser's page is next.
  assert.deepEqual(page.visited, ["alipays://platformapi/startapp?appId=20000067", "https://openapi.alipay.example/gateway.do?out_trade_no=pa_0001"]);
  assert.deepEqual([end.moved, end.step], ["left", 2]);
  const second = new Page({ scripts: ALL });
  second.window.location.assign = (to) => { second.visited.push(to); second.hide(); };
  assert.deepEqual([(await run(second, envelope, without)).step, second.visited.length], [1, 1]);
});

test("a refusal before anything started goes on, a result does not", async () => {
  const { page, hello } = await inShell(() => { throw new Refused(-32011); });
  const drawn = [];
  const options = { target: "android", shell: hello, draw: (content) => { drawn.push(content); } };
  const end = await run(page, vector("wechatpay-android").envelope, options);
  assert.deepEqual([end.moved, drawn], ["shown", ["weixin://wxpay/bizpayurl?pr=0000001"]]);
  const silent = await inShell(() => new Promise(() => {}));
  const open = await run(silent.page, vector("wechatpay-android").envelope, { target: "android", shell: silent.hello, timeout: 5_000, draw: () => assert.fail("the SDK may be open") });
  assert.deepEqual([open.moved, open.claim.outcome, open.claim.next], ["claim", "unknown", "confirm"]);
});

for (const [what, more, options] of [
  ["for another target", { target: "ios" }, { target: "android" }],
  ["that needs what is not here", { requires: ["alipay.sdk"] }, {}],
  ["that is over", { expires_at: NOW * 1000 }, {}],
  ["of a kind that is newer than the page", { kind: "telepathy" }, {}],
]) {
  test(`a step ${what} is passed over`, async () => {
    const page = new Page({ scripts: ALL });
    const end = await run(page, plan({ ...step("redirect", { url: "https://a.example/" }), ...more }, QR), { now: () => NOW, draw: () => {}, ...options });
    assert.deepEqual([end.moved, end.step, page.visited], ["shown", 1, []]);
  });
}

test("nothing that runs here is said, and so is an envelope that cannot be read", async () => {
  const page = new Page({ scripts: ALL });
  assert.equal((await run(page, plan(step("sdk", { sdk: "alipay", arguments: {} })), {})).moved, "stuck");
  assert.equal((await run(page, "nonsense", {})).moved, "stuck");
  assert.equal((await run(page, { ...plan(QR), plan: { v: 1, steps: [QR], expires_at: NOW * 1000 } }, { draw: () => {}, now: () => NOW })).moved, "stuck");
  assert.equal((await run(page, plan(step("none", {})), {})).moved, "waiting");
});

test("no address runs a script, and only declared apps are opened", async () => {
  for (const url of ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd", "intent://x#Intent;end", "evil://x", "https:evil"]) {
    const page = new Page({ scripts: ALL });
    const what = { ...plan(step("link", { url }), step("redirect", { url }), step("form", { url, fields: [] }), QR), opens: ["alipays"] };
    const end = await run(page, what, { draw: () => {} });
    assert.deepEqual([end.step, page.visited, page.forms], [3, [], []], url);
    const free = new Page({ scripts: ALL });
    const anyApp = await run(free, plan(step("link", { url }), QR), { draw: () => {} });
    assert.deepEqual([anyApp.step, free.visited], [1, url === "evil://x" ? [url] : []], url);
  }
});

test("a form is submitted as it is, in its order", async () => {
  const page = new Page({ scripts: ALL });
  const fields = [{ name: "b", value: "二<\"" }, { name: "a", value: "1" }, { name: "b", value: "again" }];
  const end = await run(page, plan(step("form", { url: "https://pay.example/gateway", method: "POST", fields })), {});
  assert.equal(end.moved, "left");
  assert.deepEqual(page.forms, [{ method: "POST", action: "https://pay.example/gateway", fields: [["b", "二<\""], ["a", "1"], ["b", "again"]] }]);
});

const WECHAT = "Mozilla/5.0 (iPhone) MicroMessenger/8.0";
const jsapi = (bridge, method) => step("jsapi", { bridge, method, arguments: { package: "prepay_id=1" } });

test("the browser's bridge of WeChat is waited for and called with the arguments as they are", async () => {
  const page = new Page({ scripts: ALL, agent: WECHAT });
  const asked = [];
  page.clock.set(() => {
    page.window.WeixinJSBridge = { invoke: (method, args, done) => { asked.push([method, { ...args }]); done({ err_msg: "get_brand_wcpay_request:ok" }); } };
    page.window.document.target.dispatch("WeixinJSBridgeReady");
  }, 1_000);
  const end = await run(page, plan(jsapi("WeixinJSBridge", "getBrandWCPayRequest")), { target: "webview" });
  assert.deepEqual(asked, [["getBrandWCPayRequest", { package: "prepay_id=1" }]]);
  assert.deepEqual([end.claim.outcome, end.claim.raw.code], ["success_claimed", "get_brand_wcpay_request:ok"]);
  assert.equal(page.bridge.claimed("pa_1").outcome, "success_claimed");
});

for (const [code, outcome, reason] of [
  ["get_brand_wcpay_request:cancel", "cancelled", "user"],
  ["get_brand_wcpay_request:fail", "failed", undefined],
  ["get_brand_wcpay_request:fail_no permission", "failed", undefined],
  ["system:access_denied", "unknown", "unlisted_code"],
  ["", "unknown", "unlisted_code"],
]) {
  test(`the browser's bridge answers ${code || "nothing"}: ${outcome}`, async () => {
    const page = new Page({ scripts: ALL, agent: WECHAT, install: (window) => { window.WeixinJSBridge = { invoke: (m, a, done) => done({ err_msg: code }) }; } });
    const { claim } = await run(page, plan(jsapi("WeixinJSBridge", "getBrandWCPayRequest")), {});
    assert.deepEqual([claim.outcome, claim.reason], [outcome, reason]);
  });
}

test("the company's WeChat is no WeChat that pays, and a bridge that never comes is not waited for for ever", async () => {
  const company = new Page({ scripts: ALL, agent: "MicroMessenger/7 wxwork/4" });
  assert.equal((await run(company, plan(jsapi("WeixinJSBridge", "getBrandWCPayRequest"), QR), { draw: () => {} })).moved, "shown");
  const never = new Page({ scripts: ALL, agent: WECHAT });
  const end = await run(never, plan(jsapi("WeixinJSBridge", "getBrandWCPayRequest")), {});
  assert.deepEqual([end.moved, end.claim.outcome], ["claim", "unknown"]);
  const mute = new Page({ scripts: ALL, agent: WECHAT, install: (window) => { window.WeixinJSBridge = { invoke: () => {} }; } });
  assert.equal((await run(mute, plan(jsapi("WeixinJSBridge", "getBrandWCPayRequest")), { timeout: 4_000 })).claim.reason, "returned_without_result");
});

test("which callback fired does not matter: only the code does", async () => {
  for (const fires of ["success", "fail", "complete", "cancel"]) {
    const page = new Page({ scripts: ALL, install: (window) => {
      window.my = { tradePay: (args) => args[fires]({ resultCode: "6001", result: "r" }) };
      window.wx = { requestPayment: (args) => args[fires]({ errMsg: "requestPayment:fail cancel" }) };
    } });
    const tables = { "mini_program:alipay": { is: { 6001: ["cancelled", "user"] } }, "mini_program:wechat": { is: {}, has: [["cancel", "cancelled", "user"]] } };
    for (const [host, method] of [["alipay", "tradePay"], ["wechat", "requestPayment"]]) {
      const what = { ...plan(step("mini_program", { host, method, arguments: { tradeNO: "1" } })), results: tables };
      assert.equal((await run(page, what, {})).claim.outcome, "cancelled", `${host} ${fires}`);
    }
  }
});

test("Alipay's container and the script libraries are called by their own ways", async () => {
  const seen = [];
  const page = new Page({ scripts: ALL, install: (window) => {
    window.AlipayJSBridge = { call: (method, args, done) => { seen.push(method); done({ resultCode: 9000 }); } };
    window.ap = { tradePay: (args, done) => { seen.push("ap"); done({ resultCode: "9000" }); } };
    window.wx = { chooseWXPay: (args) => { seen.push(Object.keys(args).sort().join()); args.complete({ errMsg: "chooseWXPay:ok" }); } };
  } });
  const results = { "jsapi:AlipayJSBridge": TABLES["sdk:alipay"], "jsapi:ap": TABLES["sdk:alipay"], "jsapi:wx": { is: { "chooseWXPay:ok": ["success_claimed"] } } };
  for (const [bridge, method] of [["AlipayJSBridge", "tradePay"], ["ap", "tradePay"], ["wx", "chooseWXPay"]]) {
    const { claim } = await run(page, { ...plan(jsapi(bridge, method)), results }, {});
    assert.equal(claim.outcome, "success_claimed", bridge);
  }
  assert.deepEqual(seen, ["tradePay", "ap", "cancel,complete,fail,package,success"]);
});

const PAY_REQ = { appId: "wx1", partnerId: "1", prepayId: "p", packageValue: "Sign=WXPay", nonceStr: "n", timeStamp: 1_795_375_803, sign: "s" };

for (const [said, outcome] of [
  [{ errMsg: "requestPayment:ok" }, "success_claimed"],
  [{ errCode: -100, errMsg: "requestPayment:fail [payment微信:-2]User canceled" }, "cancelled"],
  [{ errCode: -100, errMsg: "requestPayment:fail [payment微信:-1]General errors" }, "failed"],
  [{ errCode: -100, errMsg: "requestPayment:fail [payment微信:-77]?" }, "unknown"],
]) {
  test(`uni-app takes lower-case names as texts and answers ${said.errMsg}: ${outcome}`, async () => {
    let given;
    const page = new Page({ scripts: ALL, install: (window) => { window.uni = { requestPayment: (args) => { given = args; args.complete(said); } }; } });
    const { claim } = await run(page, plan(step("sdk", { sdk: "wechat.open", arguments: PAY_REQ })), {});
    assert.equal(given.provider, "wxpay");
    assert.deepEqual({ ...given.orderInfo }, { appid: "wx1", partnerid: "1", prepayid: "p", package: "Sign=WXPay", noncestr: "n", timestamp: "1795375803", sign: "s" });
    assert.equal(claim.outcome, outcome);
  });
}

test("uni-app gets Alipay's order as the one text that it is", async () => {
  let given;
  const page = new Page({ scripts: ALL, install: (window) => { window.uni = { requestPayment: (args) => { given = args; args.success({ errMsg: "requestPayment:ok" }); } }; } });
  await run(page, plan(step("sdk", { sdk: "alipay", arguments: { orderStr: "a=1&sign=b%2B", showLoading: true } })), {});
  assert.deepEqual([given.provider, given.orderInfo], ["alipay", "a=1&sign=b%2B"]);
});

test("a wallet's object that throws is an unknown end, not a way to pay twice", async () => {
  const page = new Page({ scripts: ALL, agent: WECHAT, install: (window) => { window.WeixinJSBridge = { invoke: () => { throw new Error("no"); } }; } });
  const end = await run(page, plan(jsapi("WeixinJSBridge", "getBrandWCPayRequest"), QR), { draw: () => assert.fail("unknown is not a failure") });
  assert.deepEqual([end.moved, end.claim.outcome], ["claim", "unknown"]);
});
