// A fan-out as people write it with `ws`: the path is the channel, `POST /fan` sends messages to channels.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { fan } from "./fanout_fan.mjs";

const channels = new Map();
const server = createServer((request, response) => fan(request, response, (name, text) => {
    for (const socket of channels.get(name)) socket.send(text);
}));
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on("connection", (socket, request) => {
    const name = request.url.slice(1);
    if (!channels.has(name)) channels.set(name, new Set());
    channels.get(name).add(socket);
    socket.on("close", () => channels.get(name).delete(socket));
});
server.listen(Number(process.env.MILLRACE_PORT), "127.0.0.1");
