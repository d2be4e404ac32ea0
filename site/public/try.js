// Runs two models on the same inputs, random ones where none are given, in one of the engines, in turns, in a worker of its own.
// In: {engine, original, smaller} (a name in engines/, two ArrayBuffers), samples ([{name, dims, data}] where there are some); out: {step} | {before, after, cosine, top1, inputs, engine} | {error}.
const engines = { ort: "./engines/ort.js", gorgonia: "./engines/gorgonia.js" };
const budget = 3000; // milliseconds of timed runs for both together
const most = 30;
const compared = 8; // random inputs whose outputs are compared
const comparedSamples = 32;

// generator of numbers that are the same on every device
function random(seed) {
  let s = seed;
  const uniform = () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()) };
}

const kinds = { float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array, bool: Uint8Array, uint8: Uint8Array };

function inputs(session, seed) {
  const r = random(seed);
  const feeds = {};
  for (const m of session.inputs) {
    if (!kinds[m.type]) throw new Error(`The input ${m.name} is ${m.type}, which this page makes no values for.`);
    const shape = m.shape.map((d, k) => (typeof d === "number" && d > 0 ? d : k === 0 ? 1 : 64));
    const data = new kinds[m.type](shape.reduce((a, b) => a * b, 1));
    const value = m.type.startsWith("float") ? r.normal : () => (m.type === "int64" ? BigInt(Math.floor(2 * r.uniform())) : Math.floor(2 * r.uniform()));
    for (let i = 0; i < data.length; i++) data[i] = value();
    feeds[m.name] = { type: m.type, data, dims: shape };
  }
  return feeds;
}

// given is one of the samples that someone gave.
function given(samples, i) {
  return Object.fromEntries(
    samples.map(({ name, dims, data }) => {
      const size = data.length / dims[0];
      return [name, { type: "float32", data: data.slice(i * size, (i + 1) * size), dims: [1, ...dims.slice(1)] }];
    }),
  );
}

// compare returns the cosine of the outputs, and where they look like scores of classes whether the largest is the same.
function compare(a, b) {
  let dot = 0, aa = 0, bb = 0, same = null;
  for (const name of Object.keys(a)) {
    const x = a[name], y = b[name];
    if (!x.type.startsWith("float") || x.data.length !== y?.data.length) continue;
    let top = [0, 0];
    for (let i = 0; i < x.data.length; i++) {
      dot += x.data[i] * y.data[i];
      aa += x.data[i] ** 2;
      bb += y.data[i] ** 2;
      if (x.data[i] > x.data[top[0]]) top[0] = i;
      if (y.data[i] > y.data[top[1]]) top[1] = i;
    }
    if (x.dims.length === 2 && x.dims[1] > 1) same = top[0] === top[1];
  }
  return { cosine: dot / Math.max(Math.sqrt(aa * bb), 1e-30), same };
}

const median = (v) => v.sort((a, b) => a - b)[v.length >> 1];

async function timed(session, feeds) {
  const begun = performance.now();
  const out = await session.run(feeds);
  return [performance.now() - begun, out];
}

async function work({ engine: name, original, smaller, samples }) {
  postMessage({ step: "Loading the engine …" });
  const engine = await import(engines[name]);
  const sessions = [await engine.create(new Uint8Array(original)), await engine.create(new Uint8Array(smaller))];
  postMessage({ step: "Running both models …" });
  const cosines = [], tops = [], times = [[], []];
  const count = samples ? Math.min(samples[0].dims[0], comparedSamples) : compared;
  const feed = (i) => (samples ? given(samples, i) : inputs(sessions[0], i + 1));
  for (let i = 0; i < count; i++) {
    const feeds = feed(i);
    const c = compare((await timed(sessions[0], feeds))[1], (await timed(sessions[1], feeds))[1]);
    cosines.push(c.cosine);
    if (c.same !== null) tops.push(c.same ? 1 : 0);
  }
  const feeds = feed(0);
  const end = performance.now() + budget;
  while (times[0].length < 3 || (times[0].length < most && performance.now() < end)) {
    for (const k of [0, 1]) times[k].push((await timed(sessions[k], feeds))[0]);
  }
  const mean = (v) => (v.length ? v.reduce((a, b) => a + b, 0) / v.length : null);
  postMessage({ before: median(times[0]), after: median(times[1]), cosine: mean(cosines), top1: mean(tops), runs: times[0].length, inputs: count, engine: engine.title });
}

addEventListener("message", ({ data }) => work(data).catch((error) => postMessage({ error: String(error?.message ?? error) })));
