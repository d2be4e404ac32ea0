"""Prints the largest difference of two models' outputs on the same random inputs, relative to the largest output: A.onnx B.onnx SEED."""
import sys

import numpy as np
import onnxruntime as ort

TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(bool)": np.bool_}
options = ort.SessionOptions()
options.log_severity_level = 3
a, b = (ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in sys.argv[1:3])
rng, feeds = np.random.default_rng(int(sys.argv[3])), {}
for i in a.get_inputs():
    shape, kind = [d if isinstance(d, int) and d > 0 else 2 for d in i.shape], TYPES[i.type]
    feeds[i.name] = rng.standard_normal(shape).astype(kind) if np.issubdtype(kind, np.floating) else rng.integers(0, 2, shape).astype(kind)
worst, compared = 0.0, 0
for x, y in zip(a.run(None, feeds), b.run(None, feeds)):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    compared += x.size
    if x.shape != y.shape or not np.array_equal(np.isfinite(x), np.isfinite(y)):
        worst = float("inf")
        break
    if x.size:
        d = np.abs(np.where(np.isfinite(x), x - y, 0))
        worst = max(worst, float(d.max()) / max(float(np.abs(np.where(np.isfinite(x), x, 0)).max()), 1e-6))
if worst == 0 and not compared:
    sys.exit("the outputs have no elements that could be compared")
print(worst)
