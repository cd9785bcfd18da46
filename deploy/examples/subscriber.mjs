// An internal service in Node: a queue of its own, bound to all that is said of jobs, and a line in a file for each event.
// Each event is there once (by its id), and those of a stream in order (by version), whatever is killed or comes twice.
//     npm install amqplib && MILLRACE_BROKER_URL=amqp://user:password@host:5672/vhost \
//       MILLRACE_URL=http://127.0.0.1:8080 MILLRACE_KEY_FILE=key node subscriber.mjs ledger.jsonl
import amqp from "amqplib";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const { MILLRACE_BROKER_URL, MILLRACE_URL, MILLRACE_KEY_FILE } = process.env, [, , file] = process.argv;
if (!MILLRACE_BROKER_URL || !MILLRACE_URL || !MILLRACE_KEY_FILE || !file) {
  console.error("Set MILLRACE_BROKER_URL, MILLRACE_URL and MILLRACE_KEY_FILE, and name the file to write to.");
  process.exit(1);
}
const group = "ledger", queue = `millrace.subscribers.${group}`;
const ids = new Set(), versions = new Map(); // what is in the file: events, and how far each stream has come
const remember = ({ id, subject, version }) => {
  ids.add(id);
  versions.set(subject, Math.max(version, versions.get(subject) ?? 0));
};
if (existsSync(file)) readFileSync(file, "utf8").split("\n").filter(Boolean).map(JSON.parse).forEach(remember);

const keep = (event) => { // the effect, and the note that it was had, in one write
  if (ids.has(event.id)) return; // it came twice
  const { id, type, subject, version } = event;
  appendFileSync(file, `${JSON.stringify({ id, type, subject, version })}\n`, { flush: true });
  remember(event);
};
const missing = async (subject, after, before) => { // what was lost with a queue is in the log
  const headers = { Authorization: `Bearer ${readFileSync(MILLRACE_KEY_FILE, "utf8").trim()}` };
  const answer = await fetch(`${MILLRACE_URL}/api/v1/streams/${subject}/events?after=${after}&limit=1000`, { headers })
    .catch(() => ({ status: 503 }));
  if (answer.status === 429 || answer.status >= 500) { await sleep(1000); return []; } // asked again
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return (await answer.json()).items.filter(({ version }) => version < before);
};
const handle = async (event) => {
  for (;;) {
    const after = versions.get(event.subject) ?? 0;
    if (event.version <= after + 1) return keep(event);
    (await missing(event.subject, after, event.version)).forEach(keep);
  }
};

async function listen() {
  const connection = await amqp.connect(MILLRACE_BROKER_URL);
  const lost = new Promise((resolve) => connection.on("error", () => {}).once("close", resolve));
  const channel = await connection.createConfirmChannel();
  channel.on("error", () => connection.close());
  for (const [exchange, kind] of [["events", "topic"], ["subscribers", "direct"], ["dead", "topic"]]) {
    await channel.assertExchange(`millrace.${exchange}`, kind);
  }
  const durable = { "x-queue-type": "quorum", "x-delivery-limit": 1000000, "x-single-active-consumer": true };
  await channel.assertQueue(queue, { arguments: durable });
  await channel.bindQueue(queue, "millrace.events", "default.job.*"); // <tenant>.<category>.<verb>
  await channel.bindQueue(queue, "millrace.subscribers", group); // dead letters that an operator replays
  await channel.prefetch(50);
  let turn = Promise.resolve(); // one by one
  await channel.consume(queue, (message) => { turn = turn.then(() => settle(channel, message)).catch(console.error); });
  console.log("listening");
  await lost;
}
async function settle(channel, message) {
  try {
    await handle(JSON.parse(message.content));
  } catch (error) { // a dead letter: operators see the reason, and can replay it
    const headers = { ...message.properties.headers, queue, routing_key: message.fields.routingKey, reason: String(error) };
    const { messageId } = message.properties;
    channel.publish("millrace.dead", message.fields.routingKey, message.content, { messageId, headers, persistent: true });
    await channel.waitForConfirms();
  }
  channel.ack(message);
}
for (;;) {
  await listen().catch((error) => console.error(error.message));
  await sleep(500); // the broker is away: it keeps what comes, and we go on
}
