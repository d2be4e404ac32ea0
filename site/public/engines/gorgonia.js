// onnx-go with Gorgonia, pure Go as WebAssembly, as an engine of try.js: create(file) returns {inputs: [{name, type, shape}], run(feeds)}; values are {type, data, dims}.
import "../metaprune/wasm_exec.js";

export const title = "onnx-go with Gorgonia";

const ready = new Promise((resolve) => (globalThis.metapruneEngineReady = resolve));
const go = new globalThis.Go();
const { instance } = await WebAssembly.instantiateStreaming(fetch(new URL("./gorgonia.wasm", import.meta.url)), go.importObject);
const ended = go.run(instance).then(() => {
  throw new Error("onnx-go with Gorgonia ended, most likely for want of memory; take ONNX Runtime Web for this model");
});
ended.catch(() => undefined);
const engine = await Promise.race([ready, ended]);

function value(answer) {
  if (answer?.error !== undefined) throw new Error(answer.error);
  return answer.value;
}

export async function create(file) {
  const { id, input, output, shape } = value(engine.open(file));
  const run = async (feeds) => {
    const { data } = feeds[input];
    const out = value(engine.run(id, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)));
    return { [output]: { type: "float32", data: new Float32Array(out.data.buffer), dims: out.dims } };
  };
  return { inputs: [{ name: input, type: "float32", shape }], run };
}
