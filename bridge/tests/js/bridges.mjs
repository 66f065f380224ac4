// The bridges that apps have, behaving as the real ones were seen to: what they lose, swallow, change and never answer.
// Each takes a page and a shell (null: the app has the bridge, but no handler of ours) and is installed into the window.
import { Page } from "./world.mjs";

const later = (page, run, ms = 5) => page.clock.set(() => page.alive && run(), ms);
const tell = (page, text) => page.evaluate(`PayCoreBridge.receive(${JSON.stringify(text)})`);
const mustBeText = (text) => {
  if (typeof text !== "string") throw new TypeError("only strings pass this bridge");
};

// Hands a text to the shell and gives its answer to `back`; what the shell says unasked goes to receive.
function serve(page, shell, text, back, origin = null) {
  shell.handle(text, { origin, later: (event) => later(page, () => tell(page, event)) }).then((said) => later(page, () => back(said)));
}

export const BRIDGES = {
  wk_reply: {
    agent: "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15",
    install(window, page, shell) {
      if (!shell) return;
      window.webkit = { messageHandlers: { paycoreReply: { postMessage(text) {
        mustBeText(text);
        return new Promise((resolve) => serve(page, shell, text, resolve, "https://pay.example"));
      } } } };
    },
  },
  wk: {
    agent: "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15",
    install(window, page, shell) {
      window.webkit = { messageHandlers: { paycore: { postMessage(text) {
        if (shell) serve(page, shell, text, (said) => tell(page, said), "https://pay.example");
      } } } };
    },
  },
  android_wml: {
    install(window, page, shell) {
      const object = { onmessage: null, postMessage(text) {
        mustBeText(text);
        if (shell) serve(page, shell, text, (said) => object.onmessage({ data: said }), "https://pay.example");
      } };
      window.PayCoreNative = object;
    },
  },
  android_iface: {
    install(window, page, shell) {
      window.PayCoreNative = { postMessage(text) {
        mustBeText(text);
        if (shell) serve(page, shell, text, (said) => tell(page, said));
      } };
    },
  },
  arkweb: {
    agent: "Mozilla/5.0 (Phone; OpenHarmony 5.0) ArkWeb/4.1",
    install(window, page, shell) {
      window.PayCoreNative = { postMessage(text) {
        if (!shell) throw new Error("Jsb Permission Denied");
        serve(page, shell, text, (said) => tell(page, said), "https://pay.example");
      } };
    },
  },
  dsbridge_android: {
    name: "dsbridge",
    install(window, page, shell) {
      window._dsbridge = { call: (name, given) => dsbridge(page, shell, name, given) };
    },
  },
  dsbridge_ios: {
    name: "dsbridge",
    agent: "Mozilla/5.0 (iPhone)",
    install(window, page, shell) {
      window._dswk = true;
      window.prompt = (question, given) => (question.startsWith("_dsbridge=") ? dsbridge(page, shell, question.slice(10), given) : "");
    },
  },
  wvjb: {
    agent: "Mozilla/5.0 (iPhone)",
    install(window, page, shell) {
      window.WebViewJavascriptBridge = queueBridge(page, shell, { loses: false });
    },
  },
  wvjb_setup: {
    name: "wvjb",
    agent: "Mozilla/5.0 (iPhone)",
    scripts: ["core", "jsbridge"],
    options: { setup: true },
    install(window, page, shell) {
      page.onframe = (src) => {
        if (src === "https://__bridge_loaded__") later(page, () => {
          window.WebViewJavascriptBridge = queueBridge(page, shell, { loses: false });
          for (const ready of window.WVJBCallbacks || []) ready(window.WebViewJavascriptBridge);
        }, 20);
      };
    },
  },
  jsbridge1: {
    name: "wvjb",
    install(window, page, shell) {
      window.WebViewJavascriptBridge = queueBridge(page, shell, { loses: true });
    },
  },
  jsbridge2: {
    scripts: ["core", "jsbridge"],
    install(window, page, shell) {
      const callbacks = {};
      let count = 0;
      window.WebViewJavascriptBridge = {
        ...(shell ? { paycore: () => {} } : {}),
        callHandler(name, data, done) {
          if (done) {
            data.callbackId = `cb_${++count}_${page.clock.now}`; // it writes into what it is given; null throws
            callbacks[data.callbackId] = done;
          }
          const said = JSON.parse(JSON.stringify(data));
          if (!shell || name !== "paycore") return;
          serve(page, shell, said.payload, (answer) => callbacks[said.callbackId]?.(answer));
        },
      };
    },
  },
  capacitor: {
    scripts: ["core", "hybrid"],
    install(window, page, shell) {
      window.Capacitor = {
        listeners: {},
        addListener(plugin, event, listener) {
          this.listeners[`${plugin}.${event}`] = listener;
        },
        nativePromise(plugin, method, options) {
          return new Promise((resolve, reject) => {
            if (!shell || plugin !== "PayCore" || method !== "invoke") return later(page, () => reject(Object.assign(new Error("no"), { code: "UNIMPLEMENTED" })));
            serve(page, shell, options.payload, (said) => resolve({ payload: said }));
          });
        },
      };
    },
  },
  cordova: {
    scripts: ["core", "hybrid"],
    install(window, page, shell) {
      window.cordova = { exec(done, failed, service, action, args) {
        if (!shell || service !== "PayCore") return later(page, () => failed("Class not found"));
        serve(page, shell, args[0], done);
      } };
    },
  },
  react_native: {
    scripts: ["core", "hybrid"],
    install(window, page, shell) {
      window.ReactNativeWebView = { postMessage(text) {
        mustBeText(text);
        if (shell) serve(page, shell, text, (said) => tell(page, said));
      } };
    },
  },
  react_native_old: {
    name: "react_native",
    scripts: ["core", "hybrid"],
    install(window, page, shell) {
      window.ReactNativeWebView = { postMessage(text) {
        if (shell) serve(page, shell, text, (said) => window.document.target.dispatch("message", { data: said }));
      } };
    },
  },
  flutter_inappwebview: {
    scripts: ["core", "hybrid"],
    install(window, page, shell) {
      window.flutter_inappwebview = { callHandler: (name, text) => new Promise((resolve) => {
        if (!shell || name !== "paycore") later(page, () => resolve(null)); // no handler: null, not an error
        else serve(page, shell, text, resolve);
      }) };
    },
  },
  flutter_channel: {
    scripts: ["core", "hybrid"],
    install(window, page, shell) {
      window.PayCore = { postMessage(text) {
        mustBeText(text);
        if (shell) serve(page, shell, text, (said) => tell(page, said));
      } };
    },
  },
  postmessage: {
    agent: "Mozilla/5.0 (X11; Linux x86_64)",
    scripts: ["core", "frames"],
    options: { parent: "https://shop.example" },
    install(window, page, shell) {
      const parent = { postMessage(data, origin) {
        if (origin !== "https://shop.example" || !shell) return;
        serve(page, shell, data.paycore, (said) => window.dispatch("message", { source: parent, origin: "https://shop.example", data: { paycore: said } }), "https://pay.example");
      } };
      window.parent = parent;
    },
  },
  uri_scheme: {
    scripts: ["core", "frames"],
    options: { scheme: "paycore-shop" },
    install(window, page, shell) {
      page.onframe = (src) => {
        if (!shell || !src.startsWith("paycore-shop://invoke?d=")) return;
        const text = Buffer.from(src.slice(24), "base64url").toString("utf8");
        serve(page, shell, text, (said) => tell(page, said));
      };
    },
  },
};

// Both SDKs answer code -1 to a call that has begun (its answer comes by the stub) as to one that nobody takes.
function dsbridge(page, shell, name, given) {
  const { data, _dscbstub: stub } = JSON.parse(given);
  if (name === "_dsb.hasNativeMethod") return JSON.stringify({ code: 0, data: !!shell && data.name === "paycore.invoke" && data.type !== "syn" });
  if (shell && name === "paycore.invoke" && stub)
    serve(page, shell, data, (said) => page.evaluate(`${stub}(${JSON.stringify({ data: said })}.data);delete window.${stub}`));
  return '{"code":-1}';
}

// The message queue of WebViewJavascriptBridge and of JsBridge 1: a frame is loaded, the app fetches the queue, answers once.
// `loses`: loads within 20 ms of each other coalesce, and the fetch of the first is lost with its messages.
function queueBridge(page, shell, { loses }) {
  const callbacks = {};
  let queue = [];
  let count = 0;
  let fetching = null;
  return {
    callHandler(name, data, done) {
      const callbackId = `cb_${++count}_${page.clock.now}`;
      callbacks[callbackId] = done;
      queue.push({ handlerName: name, data, callbackId });
      if (fetching && loses) {
        page.clock.clear(fetching);
        queue = [queue.at(-1)];
      }
      fetching = later(page, () => {
        fetching = null;
        const fetched = JSON.parse(JSON.stringify(queue));
        queue = [];
        for (const message of fetched) answer(message);
      }, 20);
    },
  };
  function answer({ handlerName, data, callbackId }) {
    if (!shell || handlerName !== "paycore") return; // logged by the app, and nothing else
    serve(page, shell, String(data), (said) => {
      const done = callbacks[callbackId];
      delete callbacks[callbackId];
      done?.(said);
    });
  }
}

// A page on one of the bridges, with a shell behind it or none.
export function open(name, shell, more = {}) {
  const bridge = BRIDGES[name];
  const options = { scripts: bridge.scripts, agent: bridge.agent, clock: shell?.clock, ...more };
  return new Page({ ...options, install: (window, page) => bridge.install(window, page, shell) });
}
