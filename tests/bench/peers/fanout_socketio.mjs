// The same with Socket.IO: a channel is a room.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { fan } from "./fanout_fan.mjs";

const server = createServer();
const io = new Server(server, { transports: ["websocket"], pingInterval: 600_000 });
server.on("request", (request, response) => {
    if (!request.url.startsWith("/socket.io/")) fan(request, response, (name, text) => io.to(name).emit("m", text));
});
io.on("connection", (socket) => socket.on("join", (name) => { socket.join(name); socket.emit("joined"); }));
server.listen(Number(process.env.MILLRACE_PORT), "127.0.0.1");
