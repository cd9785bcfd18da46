// A service in Node that does a step of workflows: `uses: remote/shout`, given a `text`.
//     npm install amqplib && MILLRACE_BROKER_URL=amqp://user:password@host:5672/vhost node worker.mjs
import amqp from "amqplib";
import { randomUUID } from "node:crypto";

const queue = "shout", worker = `node-${process.pid}`;
const channel = await (await amqp.connect(process.env.MILLRACE_BROKER_URL)).createConfirmChannel();
await channel.assertQueue(`millrace.tasks.${queue}`, { arguments: { "x-queue-type": "quorum", "x-delivery-limit": 1000000 } });
await channel.bindQueue(`millrace.tasks.${queue}`, "millrace.tasks", queue);
await channel.prefetch(1);
const say = (task, type, more = {}) => channel.publish("millrace.intake", type, Buffer.from(JSON.stringify({
  id: randomUUID(), source: `/workers/${queue}`, type, subject: `job:${task.job_id}`, time: new Date(), tenant: task.tenant,
  data: { task_id: task.task_id, worker, ...more } })), { mandatory: true, persistent: true });

await channel.consume(`millrace.tasks.${queue}`, async (message) => {
  const task = JSON.parse(message.content);
  say(task, "step.beat");
  const beating = setInterval(() => say(task, "step.beat"), task.beat_seconds * 1000);
  channel.ack(message); // now it is ours: RabbitMQ need not wait for its end
  try {
    say(task, "step.completed", { output: { text: task.parameters.text.toUpperCase() } });
  } catch (error) {
    say(task, "step.failed", { code: "shout_failed", detail: String(error) });
  } finally { clearInterval(beating); }
  await channel.waitForConfirms();
});
console.log(`taking tasks of remote/${queue}`);
