// One upload by tus-js-client, as its argument says, and on stdout what became of it: one JSON object.
import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import * as tus from "tus-js-client";

const wish = JSON.parse(process.argv[2]);
const requests = [];

const sources = {
  file: () => createReadStream(wish.path),
  buffer: () => readFileSync(wish.path),
  stream: () => createReadStream(wish.path).pipe(new PassThrough()),
};

const checksumOf = (offset) => {
  const chunk = readFileSync(wish.path).subarray(offset, offset + wish.options.chunkSize);
  return `${wish.checksum} ${createHash(wish.checksum).update(chunk).digest("base64")}`;
};

const told = await new Promise((resolve) => {
  const tell = (event, more) => resolve({ event, url: upload.url, requests, ...more });
  const upload = new tus.Upload(sources[wish.source](), {
    ...wish.options,
    ...(wish.storage && { urlStorage: new tus.FileUrlStorage(wish.storage) }),
    onBeforeRequest(request) {
      if (wish.checksum && request.getMethod() === "PATCH")
        request.setHeader("Upload-Checksum", checksumOf(Number(request.getHeader("Upload-Offset"))));
    },
    onAfterResponse(request, answer) {
      requests.push(`${request.getMethod()} ${answer.getStatus()}`);
    },
    onChunkComplete(_size, stored) {
      if (wish.pauseAt && stored >= wish.pauseAt) upload.abort().then(() => tell("paused"));
      if (wish.terminateAt && stored >= wish.terminateAt) upload.abort(true).then(() => tell("terminated"));
    },
    onSuccess({ lastResponse }) {
      const header = (name) => lastResponse.getHeader(name) ?? null;
      tell("done", { upload: header("Upload-Id"), job: header("Millrace-Job-Id") });
    },
    onError(error) {
      // It does not try the making of one file out of parts again by itself.
      if (wish.tries-- > 1) return upload.start();
      const answer = error.originalResponse ?? null;
      tell("failed", { said: error.message, status: answer?.getStatus() ?? null, problem: answer?.getBody() ?? null });
    },
  });
  upload.findPreviousUploads().then((previous) => {
    if (previous.length > 0) upload.resumeFromPreviousUpload(previous[0]);
    upload.start();
  });
});
process.stdout.write(JSON.stringify(told));
process.exit(0);
