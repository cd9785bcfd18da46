// One file by Uppy in a page, where it is the browser's requests that are sent: of an origin, after a preflight, and with
// no more of an answer than the server exposes. What its argument says is done, and on stdout what became of it.
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { JSDOM } from "jsdom";

const wish = JSON.parse(process.argv[2]);
const { window } = new JSDOM("", { url: wish.page });

for (const name of ["window", "document", "navigator", "localStorage", "XMLHttpRequest", "Blob", "File", "FileReader"])
  Object.defineProperty(globalThis, name, { value: name === "window" ? window : window[name], configurable: true });

// What a bundler takes for a page.
registerHooks({
  resolve: (name, context, next) =>
    next(name === "tus-js-client" ? "tus-js-client/lib.es5/browser/index.js" : name, context),
});
const { default: Uppy } = await import("@uppy/core");
const { default: Tus } = await import("@uppy/tus");

const requests = [];
const uppy = new Uppy({ meta: wish.meta });
const told = await new Promise((resolve) => {
  const tell = (event, more) => resolve({ event, url: uppy.getFiles()[0]?.tus?.uploadUrl ?? "", requests, ...more });
  uppy.use(Tus, {
    ...wish.options,
    onAfterResponse(request, answer) {
      requests.push(`${request.getMethod()} ${answer.getStatus()}`);
    },
  });
  uppy.on("upload-success", (_file, { uploadURL, body }) => {
    const header = (name) => body.xhr.getResponseHeader(name);
    resolve({ event: "done", url: uploadURL, requests, upload: header("Upload-Id"), job: header("Millrace-Job-Id") });
  });
  uppy.on("upload-error", (_file, error, answer) => {
    tell("failed", { said: error.message, status: answer?.status ?? null });
  });
  let paused = false;
  uppy.on("upload-progress", (file, { bytesUploaded }) => {
    if (wish.pauseAt && bytesUploaded >= wish.pauseAt && !paused) {
      paused = true;
      uppy.pauseAll();
      setTimeout(() => uppy.resumeAll(), 50);
    }
    if (wish.cancelAt && bytesUploaded >= wish.cancelAt) {
      uppy.removeFile(file.id);
      // Nobody is told when the DELETE that follows is answered.
      const ended = setInterval(() => requests.some((each) => each.startsWith("DELETE")) && tell("terminated"), 10);
    }
  });
  const content = readFileSync(wish.path);
  uppy.addFile({ name: wish.name, type: wish.type, data: new window.File([content], wish.name, { type: wish.type }) });
  uppy.upload();
});
process.stdout.write(JSON.stringify(told), () => process.exit(0));
