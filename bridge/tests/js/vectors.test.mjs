// The vectors read in another language, by code that knows nothing of the Python that wrote them.
import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { readdirSync } from "node:fs";
import test from "node:test";
import { KEYS, Refused, meaning, openEnvelope, vector } from "./shell.mjs";

const FOLDER = new URL("../../vectors/", import.meta.url);
const names = readdirSync(FOLDER).filter((name) => /-.*\.json$/.test(name)).map((name) => name.slice(0, -5));

test("there is a vector for every channel and target", () => {
  assert.ok(names.length >= 18, names.join());
});

for (const name of names) {
  test(`${name} opens, and its steps are what they say`, () => {
    const one = vector(name);
    const claims = openEnvelope(one.envelope, { audience: one.audience, origin: one.origin, nowSeconds: one.now_seconds, used: new Set() });
    assert.deepEqual(claims, one.claims);
    assert.equal(one.envelope, `${one.signed_bytes}.${one.signature}`);
    assert.deepEqual(claims.plan.steps.map((step) => JSON.parse(step.params_json)), one.steps.map((step) => step.params));
    assert.equal(JSON.parse(one.message).params.envelope, one.envelope);
    if (one.claim) {
      const { raw } = one.claim;
      assert.deepEqual(meaning(claims.results[raw.source], raw.code)[0], one.claim.outcome);
      assert.deepEqual(JSON.parse(one.answer).result, one.claim);
    }
  });
}

test("every refusal is refused with its code, and nothing else is", () => {
  for (const one of vector("refusals")) {
    const open = () => openEnvelope(one.envelope, { audience: one.audience, origin: one.origin, nowSeconds: one.now_seconds, used: new Set(one.used) });
    if (one.expect.accepted) assert.ok(open(), one.name);
    else assert.throws(open, (error) => error instanceof Refused && error.code === one.expect.code, one.name);
  }
});

test("signatures verify in both encodings, also with zero bytes in front", () => {
  for (const one of vector("signatures")) {
    const key = createPublicKey({ key: KEYS.keys.find((jwk) => jwk.kid === one.kid), format: "jwk" });
    const raw = Buffer.from(one.signature, "base64url");
    assert.equal(raw.length, 64);
    assert.ok(verify("sha256", Buffer.from(one.data), { key, dsaEncoding: "ieee-p1363" }, raw), one.name);
    assert.ok(verify("sha256", Buffer.from(one.data), { key, dsaEncoding: "der" }, Buffer.from(one.der, "base64url")), one.name);
  }
});

test("codes mean what the tables say, and every other code is unknown", () => {
  for (const { table, cases } of vector("results")) {
    for (const { code, outcome, reason } of cases) assert.deepEqual([...meaning(table, code), ""].slice(0, 2), [outcome, reason]);
  }
});
