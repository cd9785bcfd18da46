// The tus server that tus.io publishes, on local disk as its documentation shows it. By itself it neither hashes nor
// syncs what it is sent; with `sha256`, it says of each file what its bytes were, in the hook that it has for that.
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import path from "node:path"
import { pipeline } from "node:stream/promises"
import { FileStore } from "@tus/file-store"
import { Server } from "@tus/server"

const [folder, hashing] = process.argv.slice(2)

async function onUploadFinish(_, upload) {
  const sha256 = createHash("sha256")
  await pipeline(createReadStream(path.join(folder, upload.id), { highWaterMark: 1 << 20 }), sha256)
  return { headers: { "X-Sha256": sha256.digest("hex") } }
}

const server = new Server({
  path: "/files",
  datastore: new FileStore({ directory: folder }),
  ...(hashing === "sha256" && { onUploadFinish }),
})
server.listen({ host: "127.0.0.1", port: Number(process.env.MILLRACE_PORT) })
