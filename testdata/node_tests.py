"""Writes ONNX's own node tests, with the first recorded inputs and outputs of each: node_tests.py FOLDER. Needs onnx."""
import os, sys, warnings

from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

warnings.simplefilter("ignore")


def write(path, message):
    with open(path, "wb") as f:
        f.write(message.SerializeToString())


for case in collect_testcases(None):
    folder = os.path.join(sys.argv[1], case.name)
    os.makedirs(folder, exist_ok=True)
    write(os.path.join(folder, "model.onnx"), case.model)
    inputs, outputs = case.data_sets[0]
    for kind, values, infos in (("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output)):
        for i, (value, info) in enumerate(zip(values, infos)):
            if info.type.HasField("tensor_type"):
                write(os.path.join(folder, f"{kind}_{i}.pb"), value if isinstance(value, TensorProto) else numpy_helper.from_array(value, info.name))
