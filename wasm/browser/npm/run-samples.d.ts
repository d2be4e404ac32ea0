import type { Run } from "./index.js";
/** Makes the function `run` of a runtime's module from onnxruntime-web, or from onnxruntime-node. */
export function runSamples(ort: unknown): Run;
