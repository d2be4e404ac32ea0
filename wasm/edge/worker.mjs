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

// sizeOf is how large the model of a request is, in the request or in the bucket; 0 where that is not known.
async function sizeOf(request, env) {
  const key = new URL(request.url).searchParams.get("key");
  if (key && env.MODELS) return (await env.MODELS.head(key))?.size ?? 0;
  return Number(request.headers.get("content-length") ?? 0);
}

async function answer(request, env, ctx, done) {
  const size = await sizeOf(request, env).catch(() => 0);
  if (current && size > Math.max(current.room, small)) current = undefined; // a hole that is too small would stay
  current ??= new Instance(env, ctx);
  current.room = Math.max(current.room, size);
  const instance = current;
  try {
    const response = await instance.handle(request, env, ctx, done);
    if (env.DEBUG) response.headers.set("metaprune-memory", String(instance.memory.buffer.byteLength));
    return response;
  } catch (error) {
    if (current === instance) current = undefined;
    done();
    console.error("instance lost:", String(error));
    return problem(503, "Service Unavailable", "this took more memory than a worker has; a smaller model, or metaprune where there is more, helps");
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
      return problem(429, "Too Many Requests", `other models took longer than ${patience / 1000} s; try again`, { "retry-after": "5" });
    }
    return answer(request, env, ctx, done);
  },
};
