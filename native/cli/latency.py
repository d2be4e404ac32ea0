"""Prints the milliseconds that two models take in ONNX Runtime, run in turns on the same random inputs: A.onnx B.onnx SECONDS."""
import statistics
import sys
import time

import numpy as np
import onnxruntime as ort

TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(bool)": np.bool_}
options = ort.SessionOptions()
options.log_severity_level = 3
sessions = [ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in sys.argv[1:3]]
rng, feeds = np.random.default_rng(0), {}
for i in sessions[0].get_inputs():
    shape, kind = [d if isinstance(d, int) and d > 0 else 1 for d in i.shape], TYPES[i.type]
    feeds[i.name] = rng.standard_normal(shape).astype(kind) if np.issubdtype(kind, np.floating) else rng.integers(0, 2, shape).astype(kind)
took, end = ([], []), time.perf_counter() + float(sys.argv[3])
for s in sessions:
    s.run(None, feeds)
while time.perf_counter() < end or len(took[0]) < 5:
    for s, t in zip(sessions, took):
        start = time.perf_counter()
        s.run(None, feeds)
        t.append(1000 * (time.perf_counter() - start))
print(*(statistics.median(t) for t in took))
