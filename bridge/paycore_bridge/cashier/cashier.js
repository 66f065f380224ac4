/**
 * <paycore-cashier>: every way to pay one order, and what became of it.
 *
 *   <script type="module" src="cashier.js"></script>
 *   <paycore-cashier endpoint="https://pay.example.com" session="cs..." token="..."></paycore-cashier>
 *
 * Attributes: `endpoint` (empty: the page's own origin), `session`, `token` (empty: a cookie of that origin), `lang` (zh or en),
 * `hosted` (this is the session's own page: a channel's page brings the payer back to it).
 * Property: `runtime`, how steps are run that a page cannot run itself: {can(step), run(step, {paymentId, envelope})}. Without one
 * the page's PayCoreBridge is used where it is loaded (docs/bridge.md). Events: `paycore-state` with
 * {state, orderId} whenever the server says something new; only PAID means paid.
 *
 * The server decides everything. What this element remembers is which button was pressed; everything else is asked again.
 */

// ------------------------------------------------------------------------------------------------ words

export const WORDS = {
  zh: {
    title: '收银台', amount: '应付金额', methods: '选择支付方式', pay: '支付 {amount}', paying: '正在发起支付…', loading: '正在加载…',
    recommended: '推荐', degraded: '当前可能较慢', unavailable: '暂不可用的方式', left: '剩余支付时间 {time}', saved: '已优惠 {amount}',
    scan: '请扫码支付', scanWith: '打开 {name} 扫一扫', refresh: '刷新二维码', expiredCode: '二维码已过期', other: '更换支付方式',
    confirming: '正在确认支付结果', confirmingText: '请稍候，我们正在向支付渠道确认。', confirmingLong: '确认需要更长时间。您可以关闭此页面，结果不会丢失。',
    again: '重新打开支付', paid: '支付成功', paidText: '商家已收到付款。', done: '完成', number: '订单编号',
    closed: '订单已关闭', closedText: '该订单不再接受付款。如已扣款，款项将退回。', closing: '订单正在关闭',
    failed: '支付未完成', failedText: '没有扣款，请重试或更换支付方式。', cancelled: '已取消支付', retry: '重试',
    offline: '网络不稳定，正在重新连接…', lost: '页面已失效', lostText: '请回到商家页面重新发起支付。', broken: '出了点问题，请重试。',
    nowhere: '此设备无法打开该支付方式，请更换。', none: '当前没有可用的支付方式', missing: '请填写 {name}', minutes: '还剩 {n} 分钟',
    lastUsed: '上次使用', changed: '价格已更新，请确认后再支付。',
  },
  en: {
    title: 'Checkout', amount: 'Amount due', methods: 'Choose how to pay', pay: 'Pay {amount}', paying: 'Starting the payment…', loading: 'Loading…',
    recommended: 'Recommended', degraded: 'May be slow right now', unavailable: 'Not available now', left: '{time} left to pay', saved: 'You save {amount}',
    scan: 'Scan to pay', scanWith: 'Open {name} and scan', refresh: 'Show a new code', expiredCode: 'This code has expired', other: 'Pay another way',
    confirming: 'Confirming your payment', confirmingText: 'One moment, we are asking the payment provider.', confirmingLong: 'This is taking longer. You may close this page; nothing is lost.',
    again: 'Open the payment again', paid: 'Payment complete', paidText: 'The shop has received your payment.', done: 'Done', number: 'Order',
    closed: 'This order is closed', closedText: 'It can no longer be paid. Anything that was taken is returned.', closing: 'This order is being closed',
    failed: 'The payment was not completed', failedText: 'Nothing was taken. Try again or choose another way.', cancelled: 'Payment cancelled', retry: 'Try again',
    offline: 'The connection is unstable, trying again…', lost: 'This page is no longer valid', lostText: 'Please go back to the shop and start the payment again.', broken: 'Something went wrong. Please try again.',
    nowhere: 'This device cannot open this way of paying. Please choose another.', none: 'There is no way to pay this order right now', missing: 'Please enter {name}', minutes: '{n} minutes left',
    lastUsed: 'Last used', changed: 'The price has changed. Please check it and pay again.',
  },
};

export const languageOf = (wanted) => (/^zh/i.test(wanted || navigator.language || '') ? 'zh' : 'en');

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');

/** An amount of minor units as people write it. The currency says how many digits it has. */
export function money(amount, lang) {
  const format = new Intl.NumberFormat(lang === 'zh' ? 'zh-CN' : 'en', {style: 'currency', currency: amount.currencyCode});
  const digits = format.resolvedOptions().maximumFractionDigits;
  return format.format(Number(amount.amountMinor ?? 0) / 10 ** digits);
}

/** Minutes and seconds. */
export function clock(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  const [hours, minutes] = [Math.floor(left / 3600), Math.floor((left % 3600) / 60)];
  const two = (number) => String(number).padStart(2, '0');
  return (hours ? `${hours}:` : '') + `${hours ? two(minutes) : minutes}:${two(left % 60)}`;
}

// ------------------------------------------------------------------------------------------------ the server

const SERVICE = '/paycore.v1.CashierService/';
const CALL_MS = 20_000;
const HEARTBEAT_SECONDS = 10;
const SILENCE_MS = 25_000;
const PAUSES = [1, 1, 2, 3, 5, 8, 10];

/** A call that was refused, with its stable reason; `code` is 'offline' when nothing came back. */
export class Refusal extends Error {
  constructor(code, reason = '') {
    super(reason || code);
    this.code = code;
    this.reason = reason;
  }

  static of(error) {
    const info = (error.details ?? []).find((detail) => detail.type === 'google.rpc.ErrorInfo');
    return new Refusal(error.code ?? 'unknown', info ? firstText(info.value) : '');
  }

  get isPassing() {
    return ['offline', 'unavailable', 'deadline_exceeded', 'aborted', 'resource_exhausted', 'canceled', 'unknown'].includes(this.code);
  }

  get isLost() {
    return ['unauthenticated', 'permission_denied'].includes(this.code) || this.reason === 'SESSION_NOT_FOUND';
  }
}

/** The first field of a protobuf message in base64, a short text: an ErrorInfo's reason. */
function firstText(base64) {
  const bytes = atob(base64);
  return bytes.charCodeAt(0) === 10 ? bytes.slice(2, 2 + bytes.charCodeAt(1)) : '';
}

class Server {
  constructor(endpoint, session, token) {
    this.endpoint = endpoint.replace(/\/$/, '');
    this.session = session;
    this.token = token;
    this.ahead = 0; // milliseconds that the server's clock is ahead of ours
  }

  headers(type) {
    const who = this.token ? {authorization: `Bearer ${this.token}`} : {'paycore-session': this.session};
    return {'content-type': type, 'connect-protocol-version': '1', ...who};
  }

  async call(method, body) {
    const answer = await this.send(SERVICE + method, {
      method: 'POST', headers: this.headers('application/json'), body: JSON.stringify(body), signal: AbortSignal.timeout(CALL_MS),
    });
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) throw Refusal.of(said);
    return said;
  }

  async send(path, options) {
    const credentials = this.token ? 'omit' : 'same-origin';
    const answer = await fetch(this.endpoint + path, {credentials, ...options}).catch(() => { throw new Refusal('offline'); });
    const date = Date.parse(answer.headers.get('date') ?? '');
    if (date) this.ahead = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
    return answer;
  }

  now() {
    return Date.now() + this.ahead;
  }

  /** The picture of a payment's code: its size and the path to fill. */
  async code(payment) {
    const answer = await this.send(`/pay/${this.session}/code/${payment}`, {headers: this.headers('application/json')});
    if (!answer.ok) throw new Refusal('not_found');
    return answer.json();
  }

  /** The session each time its order changed. Ends when the server ends it, throws Refusal when the line breaks. */
  async* watch(after, signal) {
    const body = new TextEncoder().encode(JSON.stringify({
      sessionId: this.session, heartbeatSeconds: HEARTBEAT_SECONDS, ...(after ? {resumeAfter: String(after)} : {}),
    }));
    const envelope = new Uint8Array(5 + body.length);
    new DataView(envelope.buffer).setUint32(1, body.length);
    envelope.set(body, 5);
    const answer = await this.send(`${SERVICE}WatchCashierSession`, {
      method: 'POST', headers: this.headers('application/connect+json'), body: envelope, signal,
    });
    if (!answer.ok || !answer.body) throw new Refusal('unavailable');
    for await (const [flags, message] of envelopes(answer.body.getReader())) {
      if (flags & 2) {
        if (message.error) throw Refusal.of(message.error);
        return;
      }
      yield message;
    }
    throw new Refusal('offline');
  }
}

async function* envelopes(reader) {
  let held = new Uint8Array(0);
  try {
    for (;;) {
      const {done, value} = await reader.read().catch(() => ({done: true}));
      if (done) return;
      const joined = new Uint8Array(held.length + value.length);
      joined.set(held);
      joined.set(value, held.length);
      held = joined;
      for (;;) {
        if (held.length < 5) break;
        const size = 5 + new DataView(held.buffer, held.byteOffset).getUint32(1);
        if (held.length < size) break;
        yield [held[0], JSON.parse(new TextDecoder().decode(held.subarray(5, size)))];
        held = held.subarray(size);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// ------------------------------------------------------------------------------------------------ this device

/** What the page can tell of the device. What it cannot tell is left out: nothing is hidden by a guess. */
export function clientContext(agent = navigator.userAgent, wide = matchMedia('(min-width: 720px) and (pointer: fine)').matches) {
  const os = /HarmonyOS|OpenHarmony/i.test(agent) ? 'harmony' : /iPhone|iPad|iPod/.test(agent) ? 'ios' : /Android/.test(agent) ? 'android' : '';
  const inWallet = /MicroMessenger(?!.*wxwork)/i.test(agent) ? 'wechat' : /AlipayClient/i.test(agent) ? 'alipay' : '';
  const face = inWallet ? 'in_wallet' : os || !wide ? 'h5' : 'pc';
  return {face, ...(os ? {os} : {}), ...(inWallet ? {vendor: inWallet} : {}), locale: navigator.language};
}

const UNSAFE = /^(?:javascript|data|blob|file|about|vbscript|content|view-source):/i;
const TERMINAL = new Set(['STATE_FAILED', 'STATE_CLOSED', 'STATE_SUCCEEDED']);
const kindOf = (step) => (step.kind ?? '').replace(/^.*KIND_/, '').toLowerCase();

/** Runs what a page can run by itself. 'away': the page is being left; 'show': there is something to look at. */
function runHere(step, root) {
  const parameters = JSON.parse(step.paramsJson || '{}');
  switch (kindOf(step)) {
    case 'qr': return 'show';
    case 'none': return 'wait';
    case 'redirect':
    case 'link':
      if (UNSAFE.test(parameters.url)) return null;
      location.assign(parameters.url);
      return 'away';
    case 'form': {
      if (UNSAFE.test(parameters.url)) return null;
      const form = element('form', {method: parameters.method, action: parameters.url, hidden: true},
        ...parameters.fields.map((field) => element('input', {type: 'hidden', name: field.name, value: field.value})));
      root.append(form);
      form.submit();
      return 'away';
    }
    default: return null;
  }
}

// ------------------------------------------------------------------------------------------------ drawing

const SVG = 'http://www.w3.org/2000/svg';

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, '');
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

function drawing(box, label, ...paths) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', box);
  if (label) {
    svg.setAttribute('role', 'img');
    svg.setAttribute('aria-label', label);
  } else svg.setAttribute('aria-hidden', 'true');
  for (const attributes of paths) {
    const path = document.createElementNS(SVG, 'path');
    for (const [key, value] of Object.entries(attributes)) path.setAttribute(key, value);
    svg.append(path);
  }
  return svg;
}

/** Our own signs for what happens on the device; no company's mark. */
const SIGNS = {
  qr: 'M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h2v2h-2zM18 14h2v2h-2zM14 18h2v2h-2zM18 18h2v2h-2z',
  app: 'M8 3h8a2 2 0 0 1 2 2v14a2 2 0 0 1-2 2H8a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2zM11 18h2',
  jsapi: 'M4 6h16v10H10l-4 4v-4H4z',
  mini_program: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM9 13c0-4 6-6 6-2s-6 2-6 2',
  barcode: 'M4 6v12M8 6v12M11 6v12M15 6v12M18 6v12M20 6v12',
  store: 'M5 9h14l-1 11H6zM9 9a3 3 0 0 1 6 0',
  redirect: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM4 12h16M12 4c-5 5-5 11 0 16M12 4c5 5 5 11 0 16',
};

function sign(option) {
  const hue = [...option.channel].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 7);
  const tile = element('span', {class: 'sign', 'aria-hidden': 'true'},
    drawing('0 0 24 24', '', {d: SIGNS[option.scene] ?? SIGNS.redirect, fill: 'none', stroke: 'currentColor', 'stroke-width': '1.75', 'stroke-linejoin': 'round', 'stroke-linecap': 'round'}));
  tile.style.setProperty('--hue', hue);
  return tile;
}

const TICK = {d: 'M14 25l8 8 14-17', class: 'stroke'};
const CROSS = {d: 'M17 17l16 16M33 17L17 33', class: 'stroke'};
const RING = {d: 'M25 4a21 21 0 1 0 0 42 21 21 0 0 0 0-42z', class: 'ring'};

// ------------------------------------------------------------------------------------------------ the element

const sheet = new CSSStyleSheet();

export class PaycoreCashier extends HTMLElement {
  static observedAttributes = ['session', 'token', 'endpoint', 'lang'];

  runtime = null;
  #greeting = null;
  #app = null; // the app around this page, once it has answered
  #server = null;
  #session = null;
  #chosen = '';
  #work = '';          // what was begun here: '', 'paying', 'confirming'
  #begun = 0;
  #isLong = false;     // whether it is said that confirming takes long
  #notice = '';
  #lost = false;
  #offline = false;
  #codes = new Map();
  #refreshed = 0;
  #view = '';
  #life = null;
  #stream = null;
  #tabs = null;
  #ticking = 0;
  #parts = {};

  constructor() {
    super();
    this.attachShadow({mode: 'open'}).adoptedStyleSheets = [sheet];
    this.#parts.live = element('p', {class: 'hidden', role: 'status', 'aria-live': 'polite'});
    this.#parts.box = element('section', {class: 'box', part: 'box'});
    this.shadowRoot.append(this.#parts.box, this.#parts.live);
  }

  connectedCallback() {
    this.#life = new AbortController();
    const {signal} = this.#life;
    for (const [target, name] of [[window, 'pageshow'], [window, 'online'], [document, 'visibilitychange'], [window, 'paycore-foreground']])
      target.addEventListener(name, () => document.visibilityState === 'visible' && this.#lookAgain(), {signal});
    this.#ticking = setInterval(() => this.#tick(), 1000);
    this.#greet();
    this.#open();
  }

  disconnectedCallback() {
    this.#life.abort();
    this.#stream?.abort();
    this.#tabs?.close();
    clearInterval(this.#ticking);
  }

  attributeChangedCallback(name, before, after) {
    if (before !== after && this.isConnected && this.#life) name === 'lang' ? this.#draw(true) : this.#open();
  }

  get #lang() { return languageOf(this.lang || document.documentElement.lang); }
  #say(key, values = {}) { return fill(WORDS[this.#lang][key], values); }
  get #options() { return this.#session?.options ?? []; }
  get #payment() { return this.#session?.payment ?? null; }
  get #isOpen() { return this.#payment != null && !TERMINAL.has(this.#payment.state); }
  get #code() { return this.#isOpen ? (this.#payment.action?.steps ?? []).find((step) => kindOf(step) === 'qr') : null; }

  /** Ask who is around this page. An app makes other ways of paying possible, so the session is asked for again. */
  #greet() {
    return this.#greeting ??= Promise.resolve(globalThis.PayCoreBridge?.connect() ?? null).then((shell) => {
      this.#app = shell;
      if (shell && this.#session) this.#ask().catch(() => {});
      return shell;
    });
  }

  #client() {
    const {shell, channels} = this.#app ?? {};
    const known = Object.entries(channels ?? {}); // an app that cannot tell (null) must hide nothing
    const installed = known.every(([, one]) => one?.installed != null) ? known.filter(([, one]) => one.installed).map(([name]) => name) : [];
    return {...clientContext(), ...(shell ? {face: shell.os, os: shell.os} : {}), ...(installed.length ? {installedApps: installed} : {})};
  }

  #open() {
    const session = this.getAttribute('session') ?? '';
    this.#server = new Server(this.getAttribute('endpoint') ?? '', session, this.getAttribute('token') ?? '');
    this.#session = null;
    this.#tabs?.close();
    this.#tabs = new BroadcastChannel(`paycore ${session}`);
    this.#tabs.onmessage = () => this.#lookAgain(false);
    this.#draw();
    this.#follow();
  }

  // -------------------------------------------------------------------------------------------- following the server

  /** Follow the session: by stream while it lasts, by asking where it does not. One at a time, whatever wakes it. */
  async #follow() {
    this.#stream?.abort();
    const mine = this.#stream = new AbortController();
    for (let failures = 0; !mine.signal.aborted && !this.#lost;) {
      try {
        const app = this.#app;
        if (!this.#session) await this.#ask();
        if (this.#app !== app) await this.#ask(); // it answered meanwhile
        await this.#listen(mine, () => { failures = 0; });
        if (this.#isOver()) return;
      } catch (refusal) {
        if (mine.signal.aborted) return;
        if (!this.#failed(refusal)) return;
        const pause = PAUSES[Math.min(failures++, PAUSES.length - 1)] * (0.75 + Math.random() / 2);
        await new Promise((resolve) => { setTimeout(resolve, pause * 1000); });
        if (!mine.signal.aborted && this.#session) await this.#ask().catch(() => {});
      }
    }
  }

  async #listen(mine, heard) {
    let watchdog = 0;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => mine.abort() ?? this.#follow(), SILENCE_MS);
    };
    alive();
    try {
      for await (const message of this.#server.watch(this.#session.version, mine.signal)) {
        alive();
        heard();
        this.#online();
        if (message.session) this.#take({...message.session, options: this.#options}); // those were asked for with this device
        if (message.heartbeat?.serverTime) this.#server.ahead = Date.parse(message.heartbeat.serverTime) - Date.now();
        if (message.end) return;
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  async #ask() {
    const {session} = await this.#server.call('GetCashierSession', {sessionId: this.#server.session, client: this.#client()});
    this.#online();
    this.#take(session);
  }

  #lookAgain(tellTabs = true) {
    if (this.#lost) return;
    this.#notice = '';
    if (tellTabs) this.#tabs?.postMessage('look');
    this.#ask().catch((refusal) => this.#failed(refusal)).finally(() => this.#isOver() || this.#follow());
  }

  #online() {
    if (this.#offline) { this.#offline = false; this.#draw(); }
  }

  /** Whether it may go on: a refusal that passes is shown and waited for, a session that is gone is not. */
  #failed(refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    this.#lost = refusal.isLost && !this.#isOver();
    this.#offline = !this.#lost;
    this.#draw();
    return !this.#lost;
  }

  /** Take what the server says. An older word never replaces a newer one. */
  #take(session) {
    if (this.#session && Number(session.version) < Number(this.#session.version)) return;
    const before = this.#session;
    this.#session = session;
    if (!this.#chosen || !this.#options.some((option) => idOf(option) === this.#chosen && isUsable(option)))
      this.#chosen = idOf(this.#options.find((option) => isUsable(option) && idOf(option) === lastUsed()) ?? this.#options.find(isUsable) ?? {});
    const payment = this.#payment;
    if (payment && TERMINAL.has(payment.state) && this.#work) {
      if (payment.state === 'STATE_FAILED') this.#notice = payment.failure?.[`message${this.#lang === 'zh' ? 'Zh' : 'En'}`] || this.#say('failedText');
      forget(this.#server.session, payment);
      if (payment.state !== 'STATE_SUCCEEDED') this.#work = '';
    }
    if (payment?.state === 'STATE_SUCCEEDED') kept('localStorage', LAST, idOf(payment));
    if (before?.orderState !== session.orderState)
      this.dispatchEvent(new CustomEvent('paycore-state', {bubbles: true, composed: true, detail: {state: (session.orderState ?? '').replace('STATE_', ''), orderId: session.orderId}}));
    if (this.#work === 'paying' && this.#isOpen && payment.isActionReady && !this.#running) this.#run(payment);
    this.#draw();
  }

  #isOver() {
    return ['STATE_PAID', 'STATE_CLOSED'].includes(this.#session?.orderState);
  }

  // -------------------------------------------------------------------------------------------- paying

  #running = false;

  async #pay(option = this.#options.find((one) => idOf(one) === this.#chosen)) {
    if (this.#work === 'paying' || !option) return;
    const inputs = Object.fromEntries(new FormData(this.shadowRoot.querySelector('form.inputs') ?? undefined));
    const missing = (option.requiredInputs ?? []).find((name) => !inputs[name]);
    if (missing) { this.#notice = this.#say('missing', {name: missing}); this.#draw(); return; }
    this.#work = 'paying';
    this.#left = '';
    this.#begun = Date.now();
    this.#notice = '';
    this.#draw();
    try {
      const answer = await this.#server.call('SubmitPayment', {
        sessionId: this.#server.session, channel: option.channel, method: option.method, inputs, client: this.#client(),
        requestId: remembered(this.#server.session, option), returnsToPage: this.hasAttribute('hosted'), quoteToken: option.quoteToken ?? '',
      });
      this.#tabs?.postMessage('look');
      this.#take({...this.#session, version: answer.version, orderState: answer.orderState, payment: answer.payment});
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      if (refusal.isLost) { this.#failed(refusal); return; }
      this.#work = '';
      if (!refusal.isPassing) forget(this.#server.session, option); // the same again would only be refused again
      this.#notice = this.#say(refusal.code === 'offline' ? 'offline' : refusal.reason === 'QUOTE_CHANGED' ? 'changed' : 'broken');
      this.#draw();
      this.#ask().catch(() => {});
    }
  }

  /** Run the first step that this device can run; the shell's runtime before what a page can do. */
  async #run(payment) {
    this.#running = true;
    try {
      if (!this.runtime && globalThis.PayCoreBridge?.run) { await this.#bridge(payment); return; }
      const steps = payment.action?.steps ?? [];
      for (const step of steps) {
        const expired = step.expireTime && Date.parse(step.expireTime) <= this.#server.now();
        if (expired) continue;
        if (await this.runtime?.can?.(step)) {
          const result = await this.runtime.run(step, {paymentId: payment.paymentId, envelope: payment.action.envelope});
          if (result.outcome === 'not_installed') continue;
          await this.#report(payment, result);
          return;
        }
        const how = runHere(step, this.shadowRoot);
        if (how === 'show') { this.#work = 'showing'; this.#draw(); return; }
        if (how) { this.#confirm(); return; }
      }
      this.#notice = this.#say('nowhere');
      this.#otherWay();
    } catch (refusal) {
      if (this.#failed(refusal)) this.#otherWay(); // the button asks again, for the same payment
    } finally {
      this.#running = false;
    }
  }

  /** Have the bridge run the plan: by the app around this page, a wallet's own script, or the page itself. */
  async #bridge(payment) {
    const bridge = globalThis.PayCoreBridge;
    const shell = await this.#greet();
    if (shell && !payment.action.envelope) { // the stream brings none: it is good once, for minutes
      const {session} = await this.#server.call('GetCashierSession', {sessionId: this.#server.session, client: this.#client()});
      payment = session.payment ?? payment;
    }
    const {envelope} = payment.action;
    const end = await bridge.run((shell && envelope) || planOf(payment), {
      shell, target: shell?.shell?.os ?? TARGETS[clientContext().face] ?? 'mobile_web', now: () => this.#server.now(), draw: () => { this.#work = 'showing'; this.#draw(); },
    });
    if (end.moved === 'claim') await this.#report(payment, {outcome: end.claim.outcome, rawCode: end.claim.raw?.code ?? ''});
    else if (end.moved === 'left' || end.moved === 'waiting') this.#confirm();
    else if (end.moved === 'stuck') {
      this.#notice = this.#say('nowhere');
      this.#otherWay();
    }
  }

  /** Tell the server what the phone says. It changes nothing but when the channel is asked. */
  async #report(payment, result) {
    this.#notice = result.outcome === 'cancelled' ? this.#say('cancelled') : '';
    if (['cancelled', 'failed'].includes(result.outcome)) this.#otherWay();
    else this.#confirm();
    await this.#server.call('ReportClientResult', {
      paymentId: payment.paymentId, outcome: `CLIENT_OUTCOME_${result.outcome.toUpperCase()}`, rawCode: String(result.rawCode ?? ''),
    }).catch(() => {});
    this.#ask().catch((refusal) => this.#failed(refusal));
  }

  #confirm() {
    this.#work = 'confirming';
    this.#begun = Date.now();
    this.#draw();
  }

  #choose(id) {
    this.#chosen = id;
    this.#notice = '';
    this.#draw();
  }

  #otherWay = () => {
    this.#work = '';
    this.#left = this.#payment?.paymentId ?? '';
    this.#draw();
  };

  #left = ''; // the payment that the payer turned away from

  /** A code that ran out is renewed by itself three times while somebody looks, then by hand. */
  #renew = () => {
    const option = this.#options.find((one) => one.channel === this.#payment?.channel && one.method === this.#payment?.method);
    if (!option) return this.#otherWay();
    forget(this.#server.session, option);
    this.#refreshed += 1;
    this.#work = '';
    return this.#pay(option);
  };

  // -------------------------------------------------------------------------------------------- what is shown

  #which() {
    if (this.#lost) return 'lost';
    const state = this.#session?.orderState;
    if (!state) return 'loading';
    if (state === 'STATE_PAID') return 'paid';
    if (state === 'STATE_CLOSED') return 'closed';
    if (this.#work === 'confirming') return 'confirming';
    if (state === 'STATE_CLOSING') return 'closing';
    if (this.#code && this.#payment.paymentId !== this.#left && (this.#work || fitsScanning())) return 'code';
    return 'choose';
  }

  #draw(anew = false) {
    const view = this.#which();
    const [box, before] = [this.#parts.box, this.#view];
    const held = this.shadowRoot.activeElement?.id;
    this.#view = view;
    box.dataset.view = view;
    box.setAttribute('aria-label', this.#say('title'));
    box.replaceChildren(...[this.#offline && element('p', {class: 'bar'}, this.#say('offline')), ...this[`_${view}`]()].filter(Boolean));
    if (held && view === before) this.shadowRoot.getElementById(held)?.focus();
    if (view !== before || anew) {
      const heading = box.querySelector('h2') ?? box.querySelector('h1');
      this.#parts.live.textContent = heading?.textContent ?? '';
      if (before && before !== 'loading') heading?.focus();
    }
    this.#tick();
  }

  _loading() {
    return [element('div', {class: 'skeleton', 'aria-busy': 'true', 'aria-label': this.#say('loading')}, element('i'), element('i'), element('i'))];
  }

  #summary(option) {
    const {subject, amount, description, orderExpireTime} = this.#session;
    const due = option?.amount ?? amount;
    const less = (money) => ({...amount, amountMinor: -Number(money.amountMinor)});
    const saved = Number(amount.amountMinor ?? 0) - Number(due.amountMinor ?? 0);
    return element('header', {},
      element('p', {class: 'label'}, this.#say('amount')),
      element('h1', {tabindex: '-1', class: 'amount', part: 'amount'}, money(due, this.#lang)),
      saved > 0 && element('p', {class: 'saved'}, element('s', {}, money(amount, this.#lang)), ' ', this.#say('saved', {amount: money({...amount, amountMinor: saved}, this.#lang)})),
      option?.offers?.length > 0 && element('ul', {class: 'offers fine'}, ...option.offers.map((one) => element('li', {}, element('span', {}, this.#title(one)), element('span', {}, money(less(one.discount), this.#lang))))),
      element('p', {class: 'subject'}, subject),
      description && element('p', {class: 'fine'}, description),
      orderExpireTime && element('p', {class: 'fine countdown', 'data-until': orderExpireTime, 'data-words': 'left'}));
  }

  _choose() {
    const usable = this.#options.filter(isUsable);
    const rest = this.#options.filter((option) => !isUsable(option));
    const chosen = usable.find((option) => idOf(option) === this.#chosen);
    return [
      this.#summary(chosen),
      element('div', {class: 'choice'},
        element('fieldset', {},
          element('legend', {}, element('h2', {tabindex: '-1'}, this.#say(usable.length ? 'methods' : 'none'))),
          ...usable.map((option) => this.#row(option)),
          rest.length > 0 && element('details', {}, element('summary', {}, this.#say('unavailable')), ...rest.map((option) => this.#row(option)))),
        chosen?.requiredInputs?.length > 0 && element('form', {class: 'inputs', onsubmit: (event) => event.preventDefault()},
          ...chosen.requiredInputs.map((name) => element('label', {}, name, element('input', {name, id: `in-${name}`, autocomplete: 'off'})))),
        this.#notice && element('p', {class: 'notice', role: 'alert'}, this.#notice),
        usable.length > 0 && element('button', {class: 'pay', part: 'button', id: 'pay', 'aria-disabled': this.#work === 'paying' ? 'true' : null, onclick: () => this.#pay()},
          this.#work === 'paying' ? this.#say('paying') : this.#say('pay', {amount: money(chosen?.amount ?? this.#session.amount, this.#lang)}))),
    ];
  }

  #row(option) {
    const [id, usable] = [idOf(option), isUsable(option)];
    const name = option[this.#lang === 'zh' ? 'displayNameZh' : 'displayNameEn'];
    const why = option.reason?.[this.#lang === 'zh' ? 'messageZh' : 'messageEn'];
    const hint = why || (option.availability === 'AVAILABILITY_DEGRADED' && this.#say('degraded')) || (option.offers ?? []).map((one) => this.#title(one)).join(' · ');
    const badge = option.isLastUsed || id === lastUsed() ? 'lastUsed' : option.isRecommended && 'recommended';
    return element('label', {class: 'row', 'data-usable': usable ? 'yes' : 'no'},
      element('input', {type: 'radio', name: 'method', id: `m-${id}`, value: id, checked: id === this.#chosen, disabled: !usable, onchange: () => this.#choose(id)}),
      sign(option),
      element('span', {class: 'name'}, element('b', {}, name, badge && element('em', {}, this.#say(badge))),
        hint && element('small', {}, hint)),
      Number(option.amount?.amountMinor) !== Number(this.#session.amount.amountMinor) && element('span', {class: 'price'}, money(option.amount, this.#lang)));
  }

  #title(offer) { return offer[this.#lang === 'zh' ? 'titleZh' : 'titleEn']; }

  _code() {
    const payment = this.#payment;
    const option = this.#options.find((one) => one.channel === payment.channel && one.method === payment.method);
    const over = this.#secondsLeft(payment.expireTime) <= 0;
    const frame = element('div', {class: 'code', 'data-over': over ? 'yes' : 'no'});
    const picture = this.#codes.get(payment.paymentId);
    if (picture) {
      frame.append(drawing(`0 0 ${picture.size} ${picture.size}`, this.#say('scan'),
        {d: `M0 0h${picture.size}v${picture.size}H0z`, fill: '#fff'}, {d: picture.path, 'fill-rule': 'evenodd'}));
    } else if (picture !== null) this.#fetchCode(payment.paymentId); // null: it is on its way
    const name = option?.[this.#lang === 'zh' ? 'displayNameZh' : 'displayNameEn'] ?? '';
    return [
      this.#summary(payment),
      element('div', {class: 'choice scan'},
        element('h2', {tabindex: '-1'}, this.#say(over ? 'expiredCode' : 'scan')),
        frame,
        over ? element('button', {class: 'pay', id: 'renew', onclick: this.#renew}, this.#say('refresh')) : element('p', {}, this.#say('scanWith', {name})),
        element('button', {class: 'quiet', id: 'other', onclick: this.#otherWay}, this.#say('other'))),
    ];
  }

  async #fetchCode(paymentId) {
    this.#codes.set(paymentId, null);
    try {
      this.#codes.set(paymentId, await this.#server.code(paymentId));
    } catch {
      this.#codes.delete(paymentId);
      setTimeout(() => this.#view === 'code' && this.#draw(), 3000);
      return;
    }
    this.#draw();
  }

  _confirming() {
    this.#isLong = Date.now() - this.#begun > 60_000;
    return this.#result('wait', 'confirming', this.#say(this.#isLong ? 'confirmingLong' : 'confirmingText'),
      this.#isOpen && element('button', {class: 'quiet', id: 'again', onclick: () => this.#run(this.#payment)}, this.#say('again')),
      element('button', {class: 'quiet', id: 'other', onclick: this.#otherWay}, this.#say('other')));
  }

  _closing() { return this.#result('wait', 'closing', this.#say('confirmingText')); }
  _closed() { return this.#result('no', 'closed', this.#say('closedText'), this.#back()); }
  _lost() { return this.#result('no', 'lost', this.#say('lostText')); }

  _paid() {
    const amount = this.#payment?.state === 'STATE_SUCCEEDED' ? this.#payment.amount : this.#session.amount;
    return this.#result('yes', 'paid', element('strong', {class: 'amount'}, money(amount, this.#lang)),
      element('p', {}, this.#say('paidText')),
      element('dl', {}, element('dt', {}, this.#say('number')), element('dd', {}, this.#session.orderId)),
      this.#back());
  }

  #back() {
    const url = this.#session?.returnUrl;
    return url && !UNSAFE.test(url) ? element('button', {class: 'pay', id: 'back', onclick: () => location.assign(url)}, this.#say('done')) : null;
  }

  #result(mood, title, ...rest) {
    const mark = {yes: [RING, TICK], no: [RING, CROSS], wait: [RING, {d: 'M25 4a21 21 0 0 1 21 21', class: 'stroke'}]}[mood];
    return [element('div', {class: 'result', 'data-mood': mood}, drawing('0 0 50 50', '', ...mark),
      element('h1', {tabindex: '-1'}, this.#say(title)), ...rest)];
  }

  #secondsLeft(time) {
    return time ? (Date.parse(time) - this.#server.now()) / 1000 : Infinity;
  }

  /** Once a second: the countdowns, and a code that ran out. Said aloud at five, two and one minutes only. */
  #tick() {
    for (const part of this.#parts.box.querySelectorAll('.countdown')) {
      const left = this.#secondsLeft(part.dataset.until);
      part.textContent = this.#say(part.dataset.words, {time: clock(left)});
      part.toggleAttribute('data-soon', left < 60);
      if ([300, 120, 60].includes(Math.ceil(left))) this.#parts.live.textContent = this.#say('minutes', {n: Math.round(left / 60)});
    }
    const box = this.#parts.box;
    if (this.#view === 'code' && box.querySelector('.code')?.dataset.over === 'no' && this.#secondsLeft(this.#payment?.expireTime) <= 0) {
      if (this.#refreshed < 3 && document.visibilityState === 'visible' && this.#secondsLeft(this.#session.orderExpireTime) > 60) this.#renew();
      else this.#draw();
    }
    if (this.#view === 'confirming' && !this.#isLong && Date.now() - this.#begun > 60_000) this.#draw();
  }
}

const microsOf = (time) => (time ? Date.parse(time) * 1000 : null);

/** The action as the bridge's plan. */
function planOf(payment) {
  const steps = payment.action.steps.map((step) => ({
    kind: step.kind, target: step.target, requires: step.requires ?? [], params_json: step.paramsJson, expires_at: microsOf(step.expireTime),
  }));
  return {payment_id: payment.paymentId, plan: {steps, expires_at: microsOf(payment.action.expireTime)}};
}

const TARGETS = {in_wallet: 'webview', pc: 'desktop'};

const idOf = (option) => (option.channel ? `${option.channel}/${option.method}` : '');
const isUsable = (option) => ['AVAILABILITY_AVAILABLE', 'AVAILABILITY_DEGRADED'].includes(option.availability);
const fitsScanning = () => clientContext().face === 'pc';

// One request_id for each attempt: a double click, a second tab's Back and a retry after silence are the same request.
const keyOf = (session, option) => `paycore ${session} ${option.channel}/${option.method}`;

// At another price it is another request.
function remembered(session, option) {
  const [key, quote] = [keyOf(session, option), option.quoteToken ?? ''];
  const [made, shown] = (kept('sessionStorage', key) ?? '').split(' ');
  return made && shown === quote ? made : kept('sessionStorage', key, `${crypto.randomUUID()} ${quote}`).split(' ')[0];
}

const forget = (session, option) => kept('sessionStorage', keyOf(session, option), '');

const LAST = 'paycore last used';
const lastUsed = () => kept('localStorage', LAST);
const memory = {};

/** What a storage keeps under a name, or keeps from now on; where a page may keep nothing, it is kept while the page lives. */
function kept(where, name, value) {
  if (value !== undefined) memory[name] = value;
  try {
    if (value !== undefined) globalThis[where].setItem(name, value);
    return globalThis[where].getItem(name);
  } catch {
    return memory[name] ?? null;
  }
}

sheet.replaceSync(`
:host{--pc-accent:#1a6b4f;--pc-on-accent:#fff;--pc-ground:#fff;--pc-ink:#16211c;--pc-soft:#5b6862;--pc-line:#dfe5e1;--pc-tint:#f3f7f5;
--pc-bad:#b3261e;--pc-radius:14px;--pc-font:system-ui,-apple-system,"PingFang SC","Noto Sans SC","Microsoft YaHei",sans-serif;
display:block;color-scheme:light dark;font:400 16px/1.5 var(--pc-font);color:var(--pc-ink)}
@media(prefers-color-scheme:dark){:host(:not([data-theme=light])){--pc-accent:#5fcba0;--pc-on-accent:#06251a;--pc-ground:#161c19;--pc-ink:#eef3f0;--pc-soft:#a3b1aa;--pc-line:#2d3732;--pc-tint:#1f2824;--pc-bad:#ffb4ab}}
:host([data-theme=dark]){--pc-accent:#5fcba0;--pc-on-accent:#06251a;--pc-ground:#161c19;--pc-ink:#eef3f0;--pc-soft:#a3b1aa;--pc-line:#2d3732;--pc-tint:#1f2824;--pc-bad:#ffb4ab}
*{box-sizing:border-box;margin:0}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.box{background:var(--pc-ground);border-radius:var(--pc-radius);padding:24px;max-width:440px;margin:auto;display:grid;gap:24px;min-height:360px;align-content:start}
h1,h2{font-size:1rem;font-weight:600;outline:none}
header{text-align:center}.label,.fine,.subject{color:var(--pc-soft)}.fine{font-size:.8125rem}.subject{overflow-wrap:anywhere}
.amount{font-size:2.5rem;line-height:1.2;font-weight:700;letter-spacing:-.02em;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.saved{color:var(--pc-accent)}.saved s{color:var(--pc-soft)}
.offers{list-style:none;padding:8px 0;display:grid;gap:4px}.offers li{display:flex;justify-content:space-between;gap:16px;font-variant-numeric:tabular-nums}.offers span:last-child{white-space:nowrap;color:var(--pc-accent)}
.countdown{font-variant-numeric:tabular-nums;margin-top:8px}.countdown[data-soon]{color:var(--pc-bad)}
.choice{display:grid;gap:16px}
fieldset,.choice,.box{grid-template-columns:minmax(0,1fr)}fieldset{border:0;padding:0;display:grid;gap:8px;min-width:0}legend{padding:0 0 8px}
.row{display:flex;align-items:center;gap:12px;min-height:60px;padding:8px 12px;border:1px solid var(--pc-line);border-radius:12px;cursor:pointer;transition:border-color .15s,background .15s}
.row:has(:checked){border-color:var(--pc-accent);background:var(--pc-tint);box-shadow:inset 0 0 0 1px var(--pc-accent)}
.row:has(:focus-visible),button:focus-visible,summary:focus-visible,input:focus-visible{outline:3px solid var(--pc-accent);outline-offset:2px}
.row[data-usable=no]{cursor:default;color:var(--pc-soft)}
.row input{appearance:none;width:20px;height:20px;flex:none;border:2px solid var(--pc-soft);border-radius:50%;order:9;outline:0}
.row input:checked{border:6px solid var(--pc-accent)}.row input:disabled{visibility:hidden}
.sign{width:36px;height:36px;flex:none;border-radius:10px;display:grid;place-items:center;background:hsl(var(--hue) 45% 92%);color:hsl(var(--hue) 55% 28%)}
.sign svg{width:22px}.row[data-usable=no] .sign{filter:grayscale(1);opacity:.6}
@media(prefers-color-scheme:dark){:host(:not([data-theme=light])) .sign{background:hsl(var(--hue) 30% 22%);color:hsl(var(--hue) 60% 80%)}}
:host([data-theme=dark]) .sign{background:hsl(var(--hue) 30% 22%);color:hsl(var(--hue) 60% 80%)}
.name{flex:1;min-width:0;display:grid}.name b{font-weight:500;display:flex;flex-wrap:wrap;align-items:center;gap:0 8px}.name small{color:var(--pc-soft);font-size:.8125rem}
.row em{font-style:normal;font-size:.75rem;color:var(--pc-accent);border:1px solid;border-radius:99px;padding:1px 8px;white-space:nowrap}
.price{font-variant-numeric:tabular-nums;font-weight:600}
details{display:grid;gap:8px}details .row{margin-top:8px}summary{color:var(--pc-soft);padding:10px 0;cursor:pointer;font-size:.875rem;border-radius:6px}
button{font:inherit;border:0;border-radius:12px;min-height:52px;padding:12px 24px;cursor:pointer;width:100%}
.pay{background:var(--pc-accent);color:var(--pc-on-accent);font-weight:600;font-size:1.0625rem;font-variant-numeric:tabular-nums}
.pay[aria-disabled]{opacity:.65;cursor:progress}
.quiet{background:none;color:var(--pc-accent);min-height:44px}
.notice{color:var(--pc-bad);text-align:center}.bar{background:var(--pc-tint);color:var(--pc-soft);border-radius:10px;padding:8px 12px;text-align:center;font-size:.875rem}
.inputs label{display:grid;gap:4px;font-size:.875rem}.inputs input{font:inherit;min-height:48px;padding:8px 12px;border:1px solid var(--pc-soft);border-radius:10px;background:none;color:inherit}
.scan{justify-items:center;text-align:center}.code{width:min(240px,70vw);aspect-ratio:1;border-radius:12px;overflow:hidden;background:#fff;border:1px solid var(--pc-line)}
.code[data-over=yes]{opacity:.15}.code svg{display:block;width:100%;shape-rendering:crispEdges}
.result{display:grid;gap:12px;justify-items:center;text-align:center;padding:24px 0}.result h1{font-size:1.375rem}.result p{color:var(--pc-soft)}
.result strong.amount{font-size:2rem}.result svg{width:72px;fill:none;stroke-width:3;stroke-linecap:round;stroke-linejoin:round}.ring{stroke:var(--pc-line)}.stroke{stroke:var(--pc-accent)}
.result[data-mood=no] .stroke{stroke:var(--pc-soft)}.result[data-mood=yes] .ring{stroke:var(--pc-accent)}
dl{display:flex;gap:8px;font-size:.8125rem;color:var(--pc-soft);flex-wrap:wrap;justify-content:center}dd{margin:0;overflow-wrap:anywhere}
.skeleton{display:grid;gap:16px}.skeleton i{height:60px;border-radius:12px;background:var(--pc-tint)}.skeleton i:first-child{height:96px}
@media(prefers-reduced-motion:no-preference){.skeleton i{animation:breathe 1.6s ease-in-out infinite}.result[data-mood=wait] svg{animation:turn 1.1s linear infinite}
.result[data-mood=yes] .stroke{stroke-dasharray:60;animation:tick .5s .1s ease-out both}}
@keyframes breathe{50%{opacity:.5}}@keyframes turn{to{transform:rotate(1turn)}}@keyframes tick{from{stroke-dashoffset:60}to{stroke-dashoffset:0}}
@media(min-width:720px){.box{max-width:840px;padding:40px}.box[data-view=choose],.box[data-view=code]{grid-template-columns:minmax(0,5fr) minmax(0,7fr);gap:48px;align-items:start}
.box>header{text-align:left;padding-top:8px}.bar{grid-column:1/-1}.code{width:280px}.amount{font-size:3rem}}
@media(min-width:1200px) and (pointer:coarse){:host{font-size:20px}.row{min-height:76px}button{min-height:68px}}
@media(forced-colors:active){.row,.pay,.code{border:1px solid ButtonText}.row:has(:checked){outline:2px solid Highlight}.stroke{stroke:CanvasText}}
`);

customElements.define('paycore-cashier', PaycoreCashier);
