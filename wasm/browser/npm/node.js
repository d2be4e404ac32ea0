// metaprune in Node: the Pruner of a page, whose worker is a thread.
import { Worker } from "node:worker_threads";
import { Pruner as PagePruner } from "./index.js";

export { PruneError, maxBytes } from "./index.js";

// thread starts a thread and gives it the methods of a page's worker that Pruner calls.
function thread(url) {
  const worker = new Worker(url);
  return {
    postMessage: (message, transfer) => worker.postMessage(message, transfer),
    terminate: () => worker.terminate(),
    addEventListener: (type, heard) => worker.on(type, (value) => heard(type === "error" ? { message: value.message } : { data: value })),
  };
}

export class Pruner extends PagePruner {
  constructor(options = {}) {
    super({ workerURL: new URL("./node-worker.js", import.meta.url), ...options, startWorker: thread });
  }
}
