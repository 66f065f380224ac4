// A shell and a bridge that do everything wrong, from seeds: they drop, delay, double, answer late, answer under wrong ids,
// answer "success" for another payment, and die in the middle. Whatever happens, a page is never lied to about whose money
// it was, never hangs, and an SDK is never started twice by one envelope.
import assert from "node:assert/strict";
import test from "node:test";
import { BRIDGES, open } from "./bridges.mjs";
import { Shell, vector } from "./shell.mjs";
import { Page } from "./world.mjs";

const ANDROID = vector("alipay-android");
const SEEDS = Number(process.env.PAYCORE_BRIDGE_SEEDS || 12);
const NAMES = ["wk_reply", "wk", "android_wml", "arkweb", "dsbridge_android", "jsbridge1", "jsbridge2", "capacitor", "cordova", "flutter_inappwebview", "react_native", "uri_scheme"];

// A small generator of our own, so that a seed means the same everywhere.
function dice(seed) {
  let state = seed * 2654435761 + 1;
  return (sides) => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) >>> 0;
    return Math.floor((((state ^ (state >>> 13)) >>> 0) / 4294967296) * sides);
  };
}

const OUTCOMES = { 9000: "success_claimed", 8000: "processing", 6001: "cancelled", 4000: "failed", 5000: "unknown", 77: "unknown" };

// Between shell and bridge, and spoiling what passes.
class Spoiler {
  constructor(shell, roll) {
    this.shell = shell;
    this.roll = roll;
    this.clock = shell.clock;
    this.page = null;
  }

  async handle(text, given) {
    const { roll } = this;
    if (roll(10) === 0) return new Promise(() => {}); // the call is lost
    const said = await this.shell.handle(text, given);
    if (roll(3) === 0) await new Promise((resolve) => this.clock.set(resolve, roll(40_000)));
    const page = this.page;
    switch (roll(8)) {
      case 0:
        return new Promise(() => {}); // the answer is lost
      case 1:
        page.bridge.receive(said); // and comes again
        return said;
      case 2:
        return JSON.stringify({ ...JSON.parse(said), id: "an-id-that-nobody-used" });
      case 3: {
        const other = JSON.parse(said);
        if (other.result?.payment_id) other.result = { ...other.result, payment_id: "pa_other", outcome: "success_claimed", final: true };
        return JSON.stringify(other);
      }
      case 4:
        return "half an ans";
      default:
        return said;
    }
  }
}

async function ends(clock, promise, ms) {
  let value;
  promise.then((found) => { value = { found }; }, (error) => { value = { error }; });
  for (let passed = 0; passed < ms && !value; passed += 250) await clock.pass(250);
  return value;
}

async function story(name, seed) {
  const roll = dice(seed);
  const clock = new Page({ scripts: [] }).clock;
  const codes = Object.keys(OUTCOMES);
  const code = codes[roll(codes.length)];
  const sdk = () => (roll(5) === 0 ? new Promise(() => {}) : new Promise((resolve) => clock.set(resolve, roll(20_000), code)));
  const shell = new Shell({ clock, sdk });
  const spoiler = new Spoiler(shell, roll);
  let page = open(name, spoiler);
  spoiler.page = page;
  const storage = page.storage;
  const hello = await ends(clock, page.bridge.connect(BRIDGES[name].options), 10_000);
  assert.ok(hello && !hello.error, "connect hangs");
  const paid = page.bridge.pay(ANDROID.envelope, { timeout: 30_000 });
  if (roll(4) === 0) {
    await clock.pass(roll(10_000));
    page.alive = false;
    page = open(name, spoiler, { storage });
    spoiler.page = page;
    if (roll(2)) shell.restart();
    assert.ok(await ends(clock, page.bridge.connect(BRIDGES[name].options), 10_000), "the second life hangs");
    page.show();
    await clock.pass(40_000);
  } else {
    const claim = await ends(clock, paid, 31_000);
    assert.ok(claim && claim.found, "pay hangs or rejects");
    const { outcome, payment_id: payment, next } = claim.found;
    assert.equal(payment, "pa_0001");
    assert.ok(next, "nobody says what to do next");
    if (outcome !== "unknown") assert.equal(outcome, OUTCOMES[code]);
    if (next === "next_step") assert.equal(shell.started, 0, "a fallback while the SDK may be open");
  }
  await clock.pass(60_000);
  assert.ok(shell.started <= 1, "the SDK was started twice");
  const kept = page.bridge.claimed("pa_0001");
  if (kept && kept.outcome !== "unknown") assert.equal(kept.outcome, OUTCOMES[code]);
  assert.deepEqual(page.errors, []);
  assert.deepEqual([...clock.timers.values()].filter((timer) => timer.at < clock.now), []);
}

for (const name of NAMES) {
  test(`${name}: ${SEEDS} stories of faults`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      try {
        await story(name, seed);
      } catch (error) {
        error.message = `${name}, seed ${seed}: ${error.message}`;
        throw error;
      }
    }
  });
}
