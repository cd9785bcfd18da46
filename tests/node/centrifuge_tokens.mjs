// Clients of the Centrifugo protocol, by the SDK as npm has it: each line on stdin is the name of one, where it connects to,
// and the tokens that its application gives it, one after the other. On stdout what each of them hears, and is not told
// by its network.
import { createInterface } from "node:readline";
import { Centrifuge, UnauthorizedError } from "centrifuge";

for await (const line of createInterface({ input: process.stdin })) {
  const { name, url, tokens } = JSON.parse(line);
  const tell = (...said) => console.log(JSON.stringify([name, ...said]));
  const client = new Centrifuge(url, {
    minReconnectDelay: 10,
    maxReconnectDelay: 50,
    getToken: async () => {
      tell("token");
      if (!tokens.length) throw new UnauthorizedError();
      return tokens.shift();
    },
  });
  client.on("connecting", ({ code }) => tell("connecting", code));
  client.on("connected", ({ client: id }) => tell("connected", id));
  client.on("disconnected", ({ code, reason }) => tell("disconnected", code, reason));
  client.on("error", ({ type, error }) => type === "transport" || tell("error", type, error.code));
  client.connect();
}
process.exit();
