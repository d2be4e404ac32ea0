// The worker: loads the program and does one thing after the other. Messages in: {id, op, ...}; out: {id, value} | {id, error, place} | {id, progress: {what, done, total}}.
import "./wasm_exec.js";

let ready;
const api = new Promise((resolve, reject) => {
  globalThis.metapruneReady = resolve;
  ready = reject;
});

async function start() {
  const go = new globalThis.Go();
  const from = new URL("./metaprune.wasm", import.meta.url);
  const { instance } = await WebAssembly.instantiateStreaming(fetch(from), go.importObject);
  globalThis.metapruneMemory = instance.exports.mem;
  go.run(instance).then(() => ready(new Error("the program ended")));
}
const started = start();

const operations = {
  open: (m, tool) => parsed(m.file ? tool.openFile(m.file) : tool.open(new Uint8Array(m.data))),
  estimate: (m, tool) => tool.estimate(m.size),
  score: (m, tool, progress) => tool.score(JSON.stringify(m.options), progress),
  inspect: (m, tool) => parsed(tool.inspect(JSON.stringify(m.options))),
  plan: (m, tool, progress) => parsed(tool.plan(JSON.stringify(m.options), progress)),
  apply: (m, tool, progress) => tool.apply(m.plan, progress, m.repaired),
  give: (m, tool) => tool.give(m.arrays.map((a) => ({ ...a, data: bytes(a.data) }))),
  noise: (m, tool) => tool.noise(m.samples, m.seed),
  observe: async (m, tool) => tool.observe((await import(m.runtimeURL)).run),
  repair: async (m, tool, progress) => {
    const { run } = await import(m.runtimeURL);
    const answer = await tool.repair(m.plan, progress, run);
    return answer.error === undefined ? { value: { ...JSON.parse(answer.value.said), repaired: answer.value.file } } : answer;
  },
  memory: () => ({ value: globalThis.metapruneMemory.buffer.byteLength }),
};

const bytes = (a) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

function parsed(answer) {
  return answer.error === undefined ? { value: JSON.parse(answer.value) } : answer;
}

let line = Promise.resolve();
globalThis.addEventListener("message", ({ data: m }) => {
  line = line.then(() => work(m));
});

async function work(m) {
  try {
    await started;
    const tool = await api;
    const progress = (what, done, total) => postMessage({ id: m.id, progress: { what, done, total } });
    const answer = await operations[m.op](m, tool, progress);
    postMessage({ id: m.id, ...answer }, answer.value instanceof Uint8Array ? [answer.value.buffer] : []);
  } catch (error) {
    postMessage({ id: m.id, error: String(error?.message ?? error), place: "" });
  }
}
