#!/usr/bin/env python3
"""A model of 3.4 GB with external data: inspect, prune to 2x, replay the plan; seconds and memory.

    bench/big.py FOLDER [--out docs/results/big.md]      # FOLDER needs 7 GB; needs onnx and numpy (make venv)

Anonymous memory is what the process holds itself; the mapped file comes and goes as the system likes."""
import argparse, os, subprocess, time

import numpy as np
from onnx import TensorProto, helper

HERE = os.path.dirname(os.path.abspath(__file__))
METAPRUNE = os.path.join(HERE, "..", "bin", "metaprune")
LAYERS, WIDTH = 50, 4096


def make(folder):
    """Fifty square products with a Relu behind each."""
    base = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype(np.float32) / 64
    weights, nodes, x = [], [], "x"
    with open(f"{folder}/big.data", "wb") as f:
        for i in range(LAYERS):
            f.write((base * (1 + i / 100)).astype(np.float32).tobytes())
            t = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH], data_location=TensorProto.EXTERNAL)
            for key, value in (("location", "big.data"), ("offset", i * base.nbytes), ("length", base.nbytes)):
                e = t.external_data.add()
                e.key, e.value = key, str(value)
            weights.append(t)
            nodes += [helper.make_node("MatMul", [x, f"w{i}"], [f"m{i}"]), helper.make_node("Relu", [f"m{i}"], [f"r{i}"])]
            x = f"r{i}"
    nodes[-1].output[0] = "y"
    graph = helper.make_graph(nodes, "big", [helper.make_tensor_value_info("x", 1, [1, WIDTH])], [helper.make_tensor_value_info("y", 1, [1, WIDTH])], weights)
    open(f"{folder}/big.onnx", "wb").write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def watch(*command):
    p, most, start = subprocess.Popen([METAPRUNE, *command, "-q"], stdout=subprocess.DEVNULL), 0, time.time()
    while p.poll() is None:
        try:
            most = max([most] + [int(l.split()[1]) for l in open(f"/proc/{p.pid}/status") if l.startswith("RssAnon")])
        except OSError:
            pass
        time.sleep(0.02)
    assert p.returncode == 0, command
    return time.time() - start, most >> 10


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder"); p.add_argument("--out", default="docs/results/big.md")
    a = p.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    if not os.path.exists(f"{a.folder}/big.onnx"): make(a.folder)
    model, small, again, plan = (f"{a.folder}/{n}" for n in ("big.onnx", "small.onnx", "again.onnx", "plan.json"))
    size = os.path.getsize(f"{a.folder}/big.data")
    rows = [("inspect", watch("inspect", model)), ("prune to 2x", watch("prune", model, "--speed-up", "2", "-o", small, "--plan", plan)), ("replay the plan", watch("prune", model, "--from-plan", plan, "-o", again))]
    assert subprocess.run(["cmp", small + ".data", again + ".data"]).returncode == 0
    text = [f"# A model of {size / 1e9:.1f} GB", f"- Pruning to 2x takes {rows[1][1][0]:.1f} s and {rows[1][1][1]} MB of memory beside the mapped file.\n- Replaying the plan gives the same bytes.\n\n    bench/big.py FOLDER\n\nThe model has {LAYERS} products of {WIDTH} by {WIDTH} in external data; the pruned model has {os.path.getsize(small + '.data') / 1e9:.1f} GB. Measured on two cores with the file in the page cache.", "", "| | seconds | anonymous memory |", "|---|---|---|"]
    text += [f"| {n} | {s:.1f} | {mb} MB |" for n, (s, mb) in rows]
    open(a.out, "w").write("\n".join(text) + "\n")
    print("\n".join(text))
    for n in (small, again): os.remove(n), os.remove(n + ".data")


if __name__ == "__main__":
    main()
