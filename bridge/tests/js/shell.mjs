// A shell as an app has it, without the app: it checks the envelope with node's own cryptography, knows no channel, keeps
// results until they are acknowledged, and runs one id once. The SDK is a function of the test.
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

const VECTORS = new URL("../../vectors/", import.meta.url);
export const vector = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, VECTORS), "utf8"));
export const KEYS = vector("keys").published;

export class Refused extends Error {
  constructor(code, data) {
    super(String(code));
    this.code = code;
    this.data = data;
  }
}

const strict = (text) => {
  const bytes = Buffer.from(text, "base64url");
  if (!/^[A-Za-z0-9_-]*$/.test(text) || bytes.toString("base64url") !== text) throw new Refused(-32013);
  return bytes;
};

const parse = (bytes, code) => {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Refused(code);
  }
};

// Everything that must hold before an SDK is touched. Throws Refused; returns the claims.
export function openEnvelope(envelope, { audience, origin, nowSeconds, used, keys = KEYS }) {
  const parts = String(envelope).split(".");
  if (parts.length !== 3) throw new Refused(-32013);
  const [head, payload, signature] = parts.map(strict);
  const header = parse(head, -32013);
  if (Object.keys(header).sort().join() !== "alg,kid,typ") throw new Refused(-32013);
  if (header.alg !== "ES256" || header.typ !== "paycore-plan+jws") throw new Refused(-32013);
  const jwk = keys.keys.find((one) => one.kid === header.kid);
  if (!jwk || signature.length !== 64) throw new Refused(-32013);
  const key = createPublicKey({ key: jwk, format: "jwk" });
  if (!verify("sha256", Buffer.from(`${parts[0]}.${parts[1]}`), { key, dsaEncoding: "ieee-p1363" }, signature)) throw new Refused(-32013);
  const claims = parse(payload, -32602);
  if (typeof claims.v !== "string" || !claims.v.startsWith("1.")) throw new Refused(-32010, { supported: ["1.0"] });
  refuseBadClaims(claims);
  if (!claims.aud.includes(audience)) throw new Refused(-32013);
  if (origin && claims.origins && !claims.origins.includes(origin)) throw new Refused(-32012);
  if (nowSeconds >= claims.exp || nowSeconds < claims.iat - 60) throw new Refused(-32014);
  if (used.has(claims.jti)) throw new Refused(-32015);
  used.add(claims.jti);
  return claims;
}

const CLAIMS = ["v", "iss", "aud", "jti", "iat", "exp", "order_id", "payment_id", "channel", "method", "amount", "plan"];
const KNOWN = new Set([...CLAIMS, "origins", "opens", "results"]);

function refuseBadClaims(claims) {
  const whole = CLAIMS.every((name) => name in claims) && Object.keys(claims).every((name) => KNOWN.has(name));
  const lives = claims.exp > claims.iat && claims.exp <= claims.iat + 300;
  if (!whole || !lives || !(claims.amount.amount_minor >= 0) || !claims.plan.steps.length) throw new Refused(-32602);
  for (const step of claims.plan.steps) {
    if (step.kind === "link" && !/^[a-z][a-z0-9+.-]*:\/\//.test(JSON.parse(step.params_json).url)) throw new Refused(-32602);
    if (step.kind === "link" && /^(javascript|data|file|blob|intent):/.test(JSON.parse(step.params_json).url)) throw new Refused(-32602);
  }
}

export function meaning(table, code) {
  if (table && Object.hasOwn(table.is, code)) return table.is[code];
  const row = (table?.has || []).find(([part]) => code.includes(part));
  return row ? row.slice(1) : ["unknown", "unlisted_code"];
}

export class Shell {
  // sdk(step, params) gives the raw code, or a promise of it; throwing Refused refuses before anything starts.
  constructor({ clock, audience = "android:com.example.shop", target = "android", has = ["alipay.sdk", "wechat.sdk"], sdk = () => "9000", keys } = {}) {
    Object.assign(this, { clock, audience, target, has, sdk, keys });
    this.used = new Set();
    this.calls = new Map();
    this.results = new Map();
    this.open = new Map();
    this.started = 0;
    this.transactions = [];
    this.finished = [];
    this.transportLimit = 65536;
  }

  // The whole of the interface: one string in, one string out (or null where the answer comes later through `later`).
  async handle(text, { origin = null, later = () => {} } = {}) {
    let call;
    try {
      call = JSON.parse(text);
    } catch {
      return JSON.stringify({ jsonrpc: "2.0", error: { code: -32700, message: "not JSON" } });
    }
    // Asked twice under one id: once is done, and the same is answered.
    if (!this.calls.has(call.id)) this.calls.set(call.id, this.#answer(call, origin, later));
    return this.calls.get(call.id);
  }

  async #answer(call, origin, later) {
    try {
      return JSON.stringify({ jsonrpc: "2.0", id: call.id, result: await this.#run(call, origin, later) });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return JSON.stringify({ jsonrpc: "2.0", id: call.id, error: { code: error.code, message: "refused", ...(error.data ? { data: error.data } : {}) } });
    }
  }

  #run({ method, params = {} }, origin, later) {
    switch (method) {
      case "paycore.hello":
        return this.#hello();
      case "paycore.pay":
        return this.#pay(params, origin, later);
      case "paycore.resume":
        return this.#resume(params);
      case "paycore.ack":
        this.results.delete(params.payment_id);
        return { v: "1.0" };
      case "paycore.unfinished":
        return { v: "1.0", transactions: this.transactions };
      case "paycore.finish":
        this.finished.push(params.transaction_id);
        this.transactions = this.transactions.filter((one) => one.transaction_id !== params.transaction_id);
        return { v: "1.0", finished: true };
      case "paycore.close":
        return { v: "1.0", closed: true };
      default:
        throw new Refused(-32601);
    }
  }

  #hello() {
    return {
      v: ["1.0"],
      shell: { name: "Example", version: "8.3.1", os: this.target },
      methods: ["paycore.hello", "paycore.pay", "paycore.resume", "paycore.ack"],
      capabilities: this.has,
      channels: { alipay: { installed: null } },
      pending: [...this.results.keys()],
    };
  }

  async #pay({ envelope }, origin, later) {
    const nowSeconds = Math.floor(this.clock.now / 1000);
    if (this.open.size) throw new Refused(-32016, { payment_id: [...this.open.keys()][0] });
    const claims = openEnvelope(envelope, { audience: this.audience, origin, nowSeconds, used: this.used, keys: this.keys });
    const index = claims.plan.steps.findIndex((step) => this.#canRun(step));
    if (index < 0) throw new Refused(-32011);
    const step = claims.plan.steps[index];
    const params = JSON.parse(step.params_json);
    const source = `${step.kind}:${params.sdk || params.store}`;
    const claim = { v: "1.0", payment_id: claims.payment_id, step: index, outcome: "unknown", final: false };
    this.open.set(claims.payment_id, claim);
    this.started++;
    later(JSON.stringify({ jsonrpc: "2.0", method: "paycore.event", params: { v: "1.0", type: "presented", claim } }));
    const code = String(await this.sdk(step, params));
    const [outcome, reason] = meaning(claims.results?.[source], code);
    const result = { ...claim, outcome, final: true, raw: { source, code }, ...(reason ? { reason } : {}) };
    this.open.delete(claims.payment_id);
    this.results.set(claims.payment_id, result);
    return result;
  }

  #canRun(step) {
    const fits = step.target === "any" || step.target === this.target;
    const able = step.requires.every((one) => this.has.includes(one));
    return fits && able && ["sdk", "store_purchase"].includes(step.kind) && !(step.expires_at / 1000 <= this.clock.now);
  }

  #resume({ payment_id }) {
    return this.results.get(payment_id) || this.open.get(payment_id) || {
      v: "1.0", payment_id, outcome: "unknown", reason: "no_such_payment", final: true,
    };
  }

  // The app's process ends and starts again: what was kept on disk is there, the open SDK is not.
  restart() {
    this.open.clear();
    this.calls.clear();
  }
}
