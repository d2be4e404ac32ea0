// The worker: one Go instance, one request at a time. A model and its analysis have to fit into 128 MB, so requests wait for each other instead of sharing it.
import "./wasm_exec.js";
import module from "./metaprune.wasm";

const recycleAt = 112 << 20; // bytes of Go's memory, which never shrinks, from which the next request gets a new instance
const patience = 60_000; // milliseconds that a request waits for those before it

globalThis.tryCatch = (fn) => {
  try {
    return { result: fn() };
  } catch (error) {
    return { error };
  }
};

const streamedFrom = 16 << 20; // bytes, as in main.go
const small = 8 << 20; // bytes of models that find room in any instance

let current; // the running instance
let last = Promise.resolve(); // ends with the last request that was let in

class Instance {
  constructor(env, ctx) {
    this.room = 0; // the largest model so far
    this.context = { env, ctx, binding: {} };
    const go = new globalThis.Go();
    let ready;
    this.ready = new Promise((resolve) => (ready = resolve));
    const instance = new WebAssembly.Instance(module, { ...go.importObject, workers: { ready: () => ready() } });
    this.memory = instance.exports.mem;
    this.ended = go.run(instance, this.context).then(
      () => new Error("the program ended"),
      (error) => error,
    );
    this.ended.then(() => current === this && (current = undefined));
  }

  // handle answers a request; the program calls done when the answer's body has been sent or given up.
  async handle(request, env, ctx, done) {
    Object.assign(this.context, { env, ctx, done });
    const gone = this.ended.then((error) => Promise.reject(error));
    await Promise.race([this.ready, gone]);
    return Promise.race([this.context.binding.handleRequest(request), gone]);
  }
}

function problem(status, title, detail, headers = {}) {
  return new Response(JSON.stringify({ type: "about:blank", title, status, detail }), { status, headers: { "content-type": "application/problem+json", ...headers } });
}

// modelOf is how large the model of a request is, in the request or in the bucket (0 where that is not known), and whether it is read tensor by tensor.
async function modelOf(request, env) {
  const options = new URL(request.url).searchParams;
  const key = options.get("key");
  if (key && env.MODELS) {
    const size = (await env.MODELS.head(key))?.size ?? 0;
    const streamed = size >= streamedFrom && options.get("criterion") !== "metanet" && (options.get("pattern") ?? "channels") === "channels";
    return { size, streamed };
  }
  return { size: Number(request.headers.get("content-length") ?? 0), streamed: false };
}

async function answer(request, env, ctx, done) {
  const { size, streamed } = await modelOf(request, env).catch(() => ({ size: 0, streamed: false }));
  if (current && (streamed ? current.room > small : size > Math.max(current.room, small))) current = undefined; // a hole that is too small, or of no use, would stay
  current ??= new Instance(env, ctx);
  if (!streamed) current.room = Math.max(current.room, size);
  const instance = current;
  try {
    const response = await instance.handle(request, env, ctx, done);
    if (env.DEBUG) response.headers.set("metaprune-memory", String(instance.memory.buffer.byteLength));
    return response;
  } catch (error) {
    if (current === instance) current = undefined;
    done();
    console.error("instance lost:", String(error));
    return problem(503, "Service Unavailable", "the request needs more memory than a worker has; use a smaller model, or metaprune serve on a machine with more memory");
  } finally {
    if (instance.memory.buffer.byteLength > recycleAt && current === instance) current = undefined;
  }
}

export default {
  async fetch(request, env, ctx) {
    const before = last;
    let done;
    const mine = new Promise((resolve) => (done = resolve));
    last = Promise.race([Promise.all([before, mine]), new Promise((resolve) => setTimeout(resolve, 2 * patience))]);
    ctx.waitUntil(mine);
    const late = await Promise.race([before.then(() => false), new Promise((resolve) => setTimeout(resolve, patience, true))]);
    if (late) {
      done();
      return problem(429, "Too Many Requests", `the worker was busy with other models for more than ${patience / 1000} s; try again`, { "retry-after": "5" });
    }
    return answer(request, env, ctx, done);
  },
};
