"""Runs models in ONNX Runtime on seeded random inputs and writes ONNX's test layout: python reference.py OUT MODEL..."""
import os, shutil, sys
import numpy as np, onnx, onnxruntime as ort
from onnx import numpy_helper

KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}

def main(out, models):
    for path in models:
        rng = np.random.default_rng(0)
        s = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        d = os.path.join(out, os.path.splitext(os.path.basename(path))[0])
        os.makedirs(d + "/test_data_set_0", exist_ok=True)
        if os.path.lexists(d + "/model.onnx"):
            os.remove(d + "/model.onnx")
        os.symlink(os.path.abspath(path), d + "/model.onnx")
        feeds = {}
        for i, v in enumerate(s.get_inputs()):
            shape = [x if isinstance(x, int) and x > 0 else 3 if k == 1 and len(v.shape) == 4 else (2 if k == 0 else 64 if len(v.shape) == 4 else 16) for k, x in enumerate(v.shape)]
            kind = KINDS[v.type]
            x = rng.standard_normal(shape).astype(kind) if np.issubdtype(kind, np.floating) else np.ones(shape, kind) if "mask" in v.name else rng.integers(0, 2, shape).astype(kind)
            feeds[v.name] = x
            open(f"{d}/test_data_set_0/input_{i}.pb", "wb").write(numpy_helper.from_array(x).SerializeToString())
        for i, y in enumerate(s.run(None, feeds)):
            open(f"{d}/test_data_set_0/output_{i}.pb", "wb").write(numpy_helper.from_array(np.asarray(y)).SerializeToString())

main(sys.argv[1], sys.argv[2:])
