// ONNX Runtime Web as metaprune's runtime for repairs.
import { ort } from "./engines/ort.js";
import { runSamples } from "./metaprune/run-samples.js";

export const run = runSamples(ort);
