// A stranger's client: @grpc/grpc-js and the committed image of the protos, nothing of paycore's own.
//
//   node walk.js IMAGE ADDRESS API_KEY
//
// It says what it sees as lines of JSON. When it says "scan", somebody has to pay the code that it shows.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const [image, address, apiKey] = process.argv.slice(2);
const LINE = { longs: String, enums: String, defaults: true, oneofs: true };
const PATIENCE_MS = 30_000;

const contract = grpc.loadPackageDefinition(
  protoLoader.loadFileDescriptorSetFromBuffer(readFileSync(image), LINE),
).paycore.v1;
const connect = (Service) => new Service(address, grpc.credentials.createInsecure());
const orders = connect(contract.OrderService);
const refunds = connect(contract.RefundService);

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function credentials() {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${apiKey}`);
  return metadata;
}

function ask(client, method, request) {
  const deadline = new Date(Date.now() + PATIENCE_MS);
  return new Promise((resolve, reject) =>
    client[method](request, credentials(), { deadline }, (error, answer) => (error ? reject(error) : resolve(answer))),
  );
}

// The code of the error that a call ends with, and whether its details name the reason.
async function refusal(client, method, request, reason) {
  try {
    await ask(client, method, request);
  } catch (error) {
    const details = error.metadata.get("grpc-status-details-bin");
    return { code: grpc.status[error.code], has_reason: details.some((one) => one.includes(reason)) };
  }
  throw new Error(`${method} was not refused`);
}

// Reads a stream up to and with the first message that is wanted, or to its end when none is.
function read(client, method, request, isWanted) {
  const stream = client[method](request, credentials(), { deadline: new Date(Date.now() + PATIENCE_MS) });
  const messages = [];
  return new Promise((resolve, reject) => {
    stream.on("data", (message) => {
      messages.push(message);
      if (isWanted(message)) {
        stream.cancel();
        resolve(messages);
      }
    });
    stream.on("end", () => resolve(messages));
    stream.on("error", (error) => (error.code === grpc.status.CANCELLED ? resolve(messages) : reject(error)));
  });
}

const isPaid = (message) => message.event?.order?.state === "STATE_PAID";
const hasEnded = (message) => message.refund?.state === "STATE_SUCCEEDED";

async function walk() {
  const number = `NODE-${randomUUID().slice(0, 13)}`;
  const wanted = {
    merchant_order_no: number,
    subject: "Tea, 茶",
    amount: { currency_code: "CNY", amount_minor: "1200" },
    metadata: [{ key: "shelf", value: "A-17" }], // proto-loader reads a descriptor set's maps as lists of their entries
    request_id: randomUUID(),
  };
  const { order } = await ask(orders, "CreateOrder", wanted);
  const again = await ask(orders, "CreateOrder", wanted);
  const found = await ask(orders, "GetOrder", { merchant_order_no: number });
  say({ saw: "created", order_id: order.order_id, again: again.order.order_id, found: found.order.order_id });

  const other = { ...wanted, subject: "Coffee" };
  say({ saw: "refused", ...(await refusal(orders, "CreateOrder", other, "IDEMPOTENCY_CONFLICT")) });

  const watched = read(orders, "WatchOrder", { order_id: order.order_id }, isPaid);
  const { payment } = await ask(orders, "PayOrder", {
    order_id: order.order_id,
    channel: "sandbox",
    method: "qr",
    client: { face: "pc", os: "linux", locale: "zh-CN" },
    request_id: randomUUID(),
  });
  const [step] = payment.action.steps;
  say({ saw: "scan", kind: step.kind, payment_id: payment.payment_id, content: JSON.parse(step.params_json).content });

  const messages = await watched;
  say({ saw: "stream", first: messages[0].message, versions: messages.map((one) => one.version), paid: isPaid(messages.at(-1)) });

  for (const amount_minor of ["500", "700"]) {
    const { refund } = await ask(refunds, "CreateRefund", {
      order_id: order.order_id,
      amount: { currency_code: "CNY", amount_minor },
      reason: "cold",
      request_id: randomUUID(),
    });
    const states = await read(refunds, "WatchRefund", { refund_id: refund.refund_id }, hasEnded);
    const last = states.findLast((one) => one.refund);
    say({ saw: "refund", state: last.refund.state, amount_minor: last.refund.amount.amount_minor });
  }
  const tooMuch = { order_id: order.order_id, amount: { currency_code: "CNY", amount_minor: "1" }, request_id: randomUUID() };
  say({ saw: "refused", ...(await refusal(refunds, "CreateRefund", tooMuch, "REFUND_EXCEEDS_BALANCE")) });

  const resumed = await read(orders, "WatchOrder", { order_id: order.order_id, resume_after: "1" }, isPaid);
  say({ saw: "resumed", first: resumed[0].message, versions: resumed.map((one) => one.version) });
  const end = (await ask(orders, "GetOrder", { order_id: order.order_id })).order;
  say({ saw: "end", state: end.state, captured_minor: end.captured_minor, refunded_minor: end.refunded_minor });
}

try {
  await walk();
} finally {
  orders.close();
  refunds.close();
}
