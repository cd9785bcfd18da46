// A service in Node that does a step of workflows: `uses: remote/shout`, given a `text`.
//     npm install amqplib && MILLRACE_BROKER_URL=amqp://user:password@host:5672/vhost node worker.mjs
import amqp from "amqplib";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const shout = async ({ text }) => ({ text: text.toUpperCase() });

const url = process.env.MILLRACE_BROKER_URL ?? "";
if (!/^amqps?:/.test(url)) {
  console.error("Set MILLRACE_BROKER_URL to the RabbitMQ that Millrace uses: `make stack` writes it to .millrace/stack/broker-url.");
  process.exit(1);
}
const queue = "millrace.tasks.shout", worker = `node-${process.pid}`;
const channel = await (await amqp.connect(url)).createConfirmChannel();
await channel.assertExchange("millrace.tasks", "direct");
await channel.assertQueue(queue, { arguments: { "x-queue-type": "quorum", "x-delivery-limit": 1000000 } });
await channel.bindQueue(queue, "millrace.tasks", "shout");
const say = (task, type, more = {}) => channel.publish("millrace.intake", type, Buffer.from(JSON.stringify({
  id: randomUUID(), source: "/workers/shout", type, subject: `job:${task.job_id}`, time: new Date(), tenant: task.tenant,
  data: { task_id: task.task_id, worker, ...more } })), { persistent: true });
for (;;) {
  const message = await channel.get(queue); // one at a time: what is not taken is there for others
  if (!message) { await sleep(200); continue; }
  const task = JSON.parse(message.content);
  const beating = setInterval(say, task.beat_seconds * 1000, task, "step.beat");
  say(task, "step.beat");
  channel.ack(message); // now it is ours: RabbitMQ need not wait for its end
  await shout(task.parameters).then((output) => say(task, "step.completed", { output }),
    (error) => say(task, "step.failed", { code: "shout_failed", detail: String(error) }));
  clearInterval(beating);
  await channel.waitForConfirms();
}
