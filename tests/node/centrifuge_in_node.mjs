// The puppet on strings of JSON: a line on stdin is a method with its arguments, a line on stdout what came of it.
import { createInterface } from "node:readline";
import { Centrifuge } from "centrifuge";

globalThis.Centrifuge = Centrifuge;
await import("./centrifuge_puppet.mjs");
for await (const line of createInterface({ input: process.stdin })) {
  const [method, ...parameters] = JSON.parse(line);
  console.log(JSON.stringify((await puppet[method](...parameters)) ?? null));
}
process.exit();
