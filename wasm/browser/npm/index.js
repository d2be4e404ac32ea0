// metaprune in a page: models are opened, planned and cut in a worker of their own; nothing is uploaded.

/** An error that the tool reports, with the place in the model where there is one. */
export class PruneError extends Error {
  constructor(message, place = "") {
    super(message);
    this.name = "PruneError";
    this.place = place;
  }
}

/** The largest file that is taken, in bytes. */
export const maxBytes = 2 ** 31 - 1;

const streamFrom = 2 ** 28; // larger files are read tensor by tensor

const aborted = () => new DOMException("cancelled", "AbortError");

/** A model in a worker. Calls are answered one after the other; a call with a signal that aborts ends the worker, and the next call opens the model again. */
export class Pruner {
  #worker;
  #calls = new Map();
  #next = 1;
  #file;
  #samples; // how they were given, for after a cancelled call
  #url;
  #runtime;
  #startWorker; // of node.js

  /** @param {{ workerURL?: string | URL, runtimeURL?: string | URL }} [options] */
  constructor(options = {}) {
    this.#url = options.workerURL ?? new URL("./worker.js", import.meta.url);
    this.#runtime = options.runtimeURL;
    this.#startWorker = options.startWorker ?? ((url) => new Worker(url, { type: "module" }));
  }

  #start() {
    const worker = this.#startWorker(this.#url);
    worker.addEventListener("message", ({ data }) => this.#settle(data));
    worker.addEventListener("error", (event) => this.#stop(new PruneError(event.message || "the worker could not be started")));
    this.#worker = worker;
  }

  #settle(message) {
    const call = this.#calls.get(message.id);
    if (!call) return;
    if (message.progress) {
      call.onProgress?.(message.progress);
      return;
    }
    this.#calls.delete(message.id);
    if (message.error === undefined) call.resolve(message.value);
    else call.reject(new PruneError(message.error, message.place));
  }

  #stop(error) {
    this.#worker?.terminate();
    this.#worker = undefined;
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
  }

  #call(op, fields, { signal, onProgress } = {}, transfer = []) {
    if (signal?.aborted) return Promise.reject(aborted());
    if (!this.#worker) this.#start();
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const abort = () => this.#stop(aborted());
      const done = (settle) => (value) => {
        signal?.removeEventListener("abort", abort);
        settle(value);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#calls.set(id, { resolve: done(resolve), reject: done(reject), onProgress });
      this.#worker.postMessage({ id, op, ...fields }, transfer);
    });
  }

  // opened opens the file again after a cancelled call.
  async #opened(options) {
    if (this.#worker || !this.#file) return;
    const samples = this.#samples;
    await this.open(this.#file, options);
    if (samples) await this.#sample(samples, options);
  }

  async #sample(samples, control) {
    const n = await this.#call(samples.op, samples, control);
    this.#samples = samples;
    return n;
  }

  /** Opens a model and reports what it consists of. The file is kept for after a cancelled call. */
  async open(file, options = {}) {
    const blob = file instanceof Blob ? file : new Blob([file]);
    if (blob.size > maxBytes) throw new PruneError(`The file has ${Math.round(blob.size / 2 ** 20)} MB; this package reads up to ${maxBytes / 2 ** 20} MB; use the command line for larger files.`);
    const data = blob.size < streamFrom ? await blob.arrayBuffer() : undefined;
    const report = await (data ? this.#call("open", { data }, options, [data]) : this.#call("open", { file: blob }, options));
    this.#file = blob;
    this.#samples = undefined;
    return report;
  }

  /** About how many bytes of memory a file of so many bytes takes at most. */
  estimate(size) {
    return this.#call("estimate", { size });
  }

  /** Scores all channels by options.criterion, so that plans come at once. */
  async score(options = {}, control = {}) {
    await this.#opened(control);
    return this.#call("score", { options }, control);
  }

  /** Counts the work at the sizes in options.inputs, such as ["x=1x3x224x224"], from now on, and reports again what the model consists of. Without any, free sizes are assumed. */
  async inspect(options = {}, control = {}) {
    await this.#opened(control);
    return this.#call("inspect", { options: { inputs: options.inputs ?? [] } }, control);
  }

  /** Chooses what leaves. */
  async plan(options, control = {}) {
    await this.#opened(control);
    return this.#call("plan", { options }, control);
  }

  /** The smaller model (Uint8Array) that a plan file describes, with the file of its repair where it has one. */
  async apply(plan, control = {}, repaired = undefined) {
    await this.#opened(control);
    return this.#call("apply", { plan, repaired }, control);
  }

  /** Takes samples for repairs, an array for every input, and returns how many there is memory for. */
  async give(arrays, control = {}) {
    await this.#opened(control);
    return this.#sample({ op: "give", arrays }, control);
  }

  /** Makes samples where there are none, for models that take pictures of one size. */
  async noise(samples = 100, seed = 0, control = {}) {
    await this.#opened(control);
    return this.#sample({ op: "noise", samples, seed }, control);
  }

  async #run(op, fields, control) {
    if (!this.#runtime) throw new PruneError("a runtime is needed to run samples: give runtimeURL, the URL of a module that exports run");
    await this.#opened(control);
    return this.#call(op, { ...fields, runtimeURL: String(this.#runtime) }, control);
  }

  /** Scores all channels by what the samples that were given say, for plans by criterion obs. */
  observe(control = {}) {
    return this.#run("observe", {}, control);
  }

  /** Fits the model of a plan to the original on the samples that were given, without labels. */
  repair(plan, control = {}) {
    return this.#run("repair", { plan }, control);
  }

  /** Bytes of memory that the worker's program has. */
  memory() {
    return this.#call("memory", {});
  }

  /** Ends the worker. */
  close() {
    this.#stop(aborted());
    this.#file = undefined;
  }
}
