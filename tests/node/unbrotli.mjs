// What Brotli has compressed, to stdout: Python's own library cannot.
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

await pipeline(createReadStream(process.argv[2]), createBrotliDecompress(), process.stdout);
