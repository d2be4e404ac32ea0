#!/usr/bin/env python3
"""Speed-ups at the sizes that a model is used at, counted by ONNX's shape inference.

    sizes.py METAPRUNE MODEL=SIZES ... [--speed-up 1.5]

Each model is pruned with `--input SIZES` (such as 1x3x640x640, for its only input). Original and result get these sizes as dims of their input, ONNX's shape inference with data propagation runs over both, and the multiply-accumulates of
Conv, ConvTranspose, Gemm and MatMul are counted; dims that stay unknown count as 1. Prints a table in Markdown.

The three models of docs/results/sizes.md lie in the wheel of rapidocr-onnxruntime (`pip download rapidocr-onnxruntime --no-deps`).
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

import onnx


def dims_of(value):
    return [d.dim_value for d in value.type.tensor_type.shape.dim]


def macs(path, sizes):
    model = onnx.load(path)
    weights = {t.name: list(t.dims) for t in model.graph.initializer}
    for n in model.graph.node:
        if n.op_type == "Constant" and n.attribute and n.attribute[0].name == "value":
            weights[n.output[0]] = list(n.attribute[0].t.dims)
    inputs = [v for v in model.graph.input if v.name not in weights]
    for d, size in zip(inputs[0].type.tensor_type.shape.dim, sizes, strict=True):
        d.dim_value = size
    del model.graph.value_info[:]
    for v in model.graph.output:  # what the file says of them holds for free sizes
        v.type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = {v.name: dims_of(v) for v in [*model.graph.value_info, *model.graph.input, *model.graph.output] if v.type.HasField("tensor_type")}
    shapes.update(weights)
    size = lambda dims: math.prod(max(d, 1) for d in dims)
    total = 0
    for n in model.graph.node:
        shape = [shapes.get(name, []) for name in [*n.input, *n.output[:1]]]
        if n.op_type == "Conv":
            total += size(shape[-1]) * size(shape[1][1:])
        elif n.op_type == "ConvTranspose":
            total += size(shape[0]) * size(shape[1][1:])
        elif n.op_type in ("Gemm", "MatMul") and shape[0]:
            k = shape[0][-1]
            if n.op_type == "Gemm":
                k = shape[1][1 if any(a.name == "transB" and a.i for a in n.attribute) else 0]
            total += size(shape[-1]) * max(k, 1)
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metaprune")
    parser.add_argument("models", nargs="+", metavar="MODEL=SIZES")
    parser.add_argument("--speed-up", type=float, default=1.5)
    args = parser.parse_args()
    print("| model | sizes | GMACs before | after | counted by ONNX | said by metaprune | without --input, at these sizes |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for spec in args.models:
        path, _, text = spec.rpartition("=")
        sizes = [int(n) for n in text.split("x")]
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "small.onnx")
            prune = [args.metaprune, "prune", path, "--speed-up", str(args.speed_up), "-o", out, "--json"]
            said = json.loads(subprocess.run([*prune, "--input", text], check=True, capture_output=True, text=True).stdout)
            before, after = macs(path, sizes), macs(out, sizes)
            os.remove(out)
            subprocess.run(prune, check=True, capture_output=True)
            assumed = macs(out, sizes)
        print(f"| `{os.path.basename(path)}` | {text} | {before / 1e9:.3f} | {after / 1e9:.3f} | {before / after:.3f}x | {said['speed_up']:.3f}x | {before / assumed:.3f}x |")


if __name__ == "__main__":
    sys.exit(main())
