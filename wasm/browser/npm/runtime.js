// ONNX Runtime Web as the runtime for repairs: install onnxruntime-web beside metaprune, and give this module's URL as runtimeURL.
import * as ort from "onnxruntime-web";
import { runSamples } from "./run-samples.js";

ort.env.wasm.numThreads = 1; // the outputs do not depend on the number of cores
ort.env.logLevel = "error";

export const run = runSamples(ort);
