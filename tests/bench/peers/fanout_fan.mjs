// `POST /fan {"names": […], "messages": n, "bytes": b}`: n messages, each to the next one of the channels.
import { setImmediate } from "node:timers/promises";

export async function fan(request, response, send) {
    if (request.method !== "POST") return response.end();
    let body = "";
    for await (const piece of request) body += piece;
    const { names, messages, bytes } = JSON.parse(body);
    const before = process.cpuUsage();
    for (let number = 0; number < messages; number += 1) {
        send(names[number % names.length], `|${process.hrtime.bigint()} `.padEnd(bytes, "x"));
        await setImmediate(); // what was sent is to be written, and others are to have a turn
    }
    const { user, system } = process.cpuUsage(before);
    response.end(JSON.stringify({ cpu_us: user + system }));
}
