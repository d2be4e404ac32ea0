// The thread of node.js: gives worker.js what a page's worker has and a thread of Node lacks.
import { readFile } from "node:fs/promises";
import { parentPort } from "node:worker_threads";

const { fetch } = globalThis;
globalThis.fetch = async (what, ...rest) => {
  if (!String(what).startsWith("file:")) return fetch(what, ...rest);
  return new Response(await readFile(new URL(what)), { headers: { "content-type": "application/wasm" } });
};

globalThis.postMessage = (message, transfer) => parentPort.postMessage(message, transfer);

// A thread of Node cannot read a Blob in parts and at once, as worker.js does with large files, so each file is read as a whole.
let line = Promise.resolve();
globalThis.addEventListener = (type, heard) =>
  parentPort.on(type, (message) => {
    line = line.then(async () => heard({ data: message.file ? { ...message, file: undefined, data: await message.file.arrayBuffer() } : message }));
  });

await import("./worker.js");
