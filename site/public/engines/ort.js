// ONNX Runtime Web with one thread, as an engine of try.js: create(file) returns {inputs: [{name, type, shape}], run(feeds)}; values are {type, data, dims}.
import * as ort from "../ort/ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL("../ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

export { ort };

export const title = "ONNX Runtime Web with one thread";

export async function create(file) {
  const session = await ort.InferenceSession.create(file);
  const inputs = session.inputMetadata.map((m) => ({ name: m.name, type: m.isTensor ? m.type : "no tensor", shape: m.shape }));
  const run = (feeds) => session.run(Object.fromEntries(Object.entries(feeds).map(([name, v]) => [name, new ort.Tensor(v.type, v.data, v.dims)])));
  return { inputs, run };
}
