// A page without a browser: the runtime's scripts in a window of their own, with a clock that the test turns.
// Nothing here knows the runtime; it is the smallest window in which plain scripts run.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";
import vm from "node:vm";

const RUNTIME = new URL("../../paycore_bridge/runtime/", import.meta.url);
const read = (name) => readFileSync(new URL(`${name}.js`, RUNTIME), "utf8");
const SOURCES = new Map(
  ["core", "hybrid", "jsbridge", "frames", "store", "wallets", "plan"].map((name) => [name, read(name)])
);
export const START = 1_795_375_803_000;

class Clock {
  constructor(now = START) {
    this.now = now;
    this.timers = new Map();
    this.next = 1;
  }

  set(run, ms, ...given) {
    const id = this.next++;
    this.timers.set(id, { at: this.now + Math.max(0, ms || 0), run: () => run(...given) });
    return id;
  }

  clear(id) {
    this.timers.delete(id);
  }

  // Let time pass, every timer at its own instant, promises in between.
  async pass(ms) {
    const end = this.now + ms;
    await settle();
    for (let turns = 0; turns < 20_000; turns++) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].run();
      await settle();
    }
    this.now = end;
    await settle();
  }
}

async function settle() {
  for (let turn = 0; turn < 12; turn++) await null;
}

class Target {
  constructor() {
    this.listeners = {};
  }

  addEventListener(type, listener) {
    (this.listeners[type] ||= new Set()).add(listener);
  }

  removeEventListener(type, listener) {
    this.listeners[type]?.delete(listener);
  }

  dispatch(type, event = {}) {
    for (const listener of [...(this.listeners[type] || [])]) listener({ type, ...event });
  }
}

export class Storage {
  constructor() {
    this.items = new Map();
    this.broken = false;
  }

  getItem(name) {
    if (this.broken) throw new Error("private window");
    return this.items.has(name) ? this.items.get(name) : null;
  }

  setItem(name, value) {
    if (this.broken) throw new Error("quota");
    this.items.set(name, String(value));
  }
}

// One life of a page. `storage` and `clock` may outlive it, as they do when a page is loaded anew.
export class Page {
  constructor({ scripts = ["core"], agent = "Mozilla/5.0 (Linux; Android 14)", clock, storage, href = "https://pay.example/s/1", install } = {}) {
    this.clock = clock || new Clock();
    this.storage = storage || new Storage();
    this.errors = [];
    this.frames = [];
    this.visited = [];
    this.forms = [];
    this.alive = true;
    const window = (this.window = this.#window(agent, href));
    install?.(window, this);
    this.context = vm.createContext(window);
    for (const name of scripts) vm.runInContext(SOURCES.get(name), this.context, { filename: `${name}.js` });
    this.bridge = window.PayCoreBridge;
  }

  // What a native side does with a page: evaluate a text in it. A dead page hears nothing.
  evaluate(text) {
    if (!this.alive) return undefined;
    return vm.runInContext(text, this.context, { filename: "native" });
  }

  die() {
    this.alive = false;
    this.clock.timers.clear();
  }

  hide() {
    this.window.document.hidden = true;
    this.window.document.target.dispatch("visibilitychange");
  }

  show() {
    this.window.document.hidden = false;
    this.window.document.target.dispatch("visibilitychange");
  }

  #window(agent, href) {
    const page = this;
    const clock = this.clock;
    const target = new Target();
    const url = new URL(href);
    const window = {
      navigator: { userAgent: agent },
      crypto: webcrypto,
      localStorage: this.storage,
      setTimeout: (run, ms, ...given) => clock.set(() => {
        try {
          run(...given);
        } catch (error) {
          page.errors.push(error);
        }
      }, ms),
      clearTimeout: (id) => clock.clear(id),
      atob: (text) => Buffer.from(text, "base64").toString("latin1"),
      btoa: (text) => Buffer.from(text, "latin1").toString("base64"),
      Date: { now: () => clock.now },
      history: { state: null, replaceState: (state, title, to) => (window.location.hash = new URL(to, href).hash) },
      location: {
        origin: url.origin,
        href: url.href,
        hash: url.hash,
        assign: (to) => page.visited.push(to),
      },
      addEventListener: (type, listener) => target.addEventListener(type, listener),
      removeEventListener: (type, listener) => target.removeEventListener(type, listener),
      dispatch: (type, event) => target.dispatch(type, event),
      document: this.#document(),
    };
    window.window = window;
    window.self = window;
    window.parent = window;
    return window;
  }

  #document() {
    const page = this;
    const target = new Target();
    const append = (child) => {
      if (child.tag === "iframe") {
        page.frames.push(child.src);
        page.onframe?.(child.src);
      }
      child.parent = true;
    };
    return {
      target,
      hidden: false,
      documentElement: { appendChild: append },
      body: { appendChild: append },
      addEventListener: (type, listener) => target.addEventListener(type, listener),
      removeEventListener: (type, listener) => target.removeEventListener(type, listener),
      createElement: (tag) => ({
        tag,
        style: {},
        children: [],
        appendChild(child) {
          this.children.push(child);
        },
        remove() {
          this.parent = false;
        },
        submit() {
          page.forms.push({ method: this.method, action: this.action, fields: this.children.map((one) => [one.name, one.value]) });
        },
      }),
    };
  }
}
