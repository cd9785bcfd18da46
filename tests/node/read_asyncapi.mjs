// Reads an AsyncAPI document with AsyncAPI's own parser, and tells what that finds.
import { Parser } from "@asyncapi/parser";
import { readFileSync } from "node:fs";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const addresses = document?.channels().all().map((channel) => channel.address());
const messages = document?.components().messages().all().map((message) => message.name());
console.log(JSON.stringify({ diagnostics, addresses, messages }));
