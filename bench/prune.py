#!/usr/bin/env python3
"""Times pruning from file to file against the peers, as whole processes side by side: median of RUNS, peak resident memory, ratios.

    bench/prune.py [RUNS]

resnet50, vit_b_16 and vgg19_bn are exported with random weights on the first run. Torch-Pruning starts from the PyTorch model and ends with an export, as its users do.
"""
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "models")
METAPRUNE = os.path.join(HERE, "..", "bin", "metaprune")

EXPORT = """
import sys, torch, torchvision
m = getattr(torchvision.models, sys.argv[1])(weights=None).eval()
torch.onnx.export(m, (torch.randn(1, 3, 224, 224),), sys.argv[2], dynamo=False, opset_version=17)
"""
ONNXSIM = """
import sys, onnx
from onnxsim import pruning
m = onnx.load(sys.argv[1])
r = pruning.apply_structured_pruning(m, float(sys.argv[3]))
onnx.save(r[0] if isinstance(r, tuple) else r, sys.argv[2])
"""
TORCH_PRUNING = """
import sys, torch, torchvision, torch_pruning as tp
m = getattr(torchvision.models, sys.argv[1])(weights=None).eval()
x = torch.randn(1, 3, 224, 224)
ignored = [k for k in m.modules() if isinstance(k, torch.nn.Linear) and k.out_features == 1000]
p = tp.pruner.BasePruner(m, x, importance=tp.importance.GroupMagnitudeImportance(p=2), global_pruning=True, pruning_ratio=0.3, ignored_layers=ignored)
p.step()
torch.onnx.export(m, (x,), sys.argv[2], dynamo=False, opset_version=17)
"""


def timed(command):
    """Seconds and peak resident bytes of a child process; None where it fails."""
    start = time.perf_counter()
    pid = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    err = pid.stderr.read()
    _, status, usage = os.wait4(pid.pid, 0)
    if status:
        return None, err.decode(errors="replace").strip().splitlines()[-1:]
    return (time.perf_counter() - start, usage.ru_maxrss * 1024), None


def measure(name, command, runs):
    timed(command)
    results = []
    for _ in range(runs):
        r, err = timed(command)
        if r is None:
            return f"fails: {' '.join(err)[:90]}"
        results.append(r)
    return statistics.median(r[0] for r in results), max(r[1] for r in results)


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    os.makedirs(MODELS, exist_ok=True)
    print(f"| model | tool | seconds (median of {runs}) | ratio | peak memory / file size |\n|---|---|---|---|---|")
    for model in ("resnet50", "vit_b_16", "vgg19_bn"):
        path = os.path.join(MODELS, model + ".onnx")
        if not os.path.exists(path):
            subprocess.run([sys.executable, "-c", EXPORT, model, path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        size, out = os.path.getsize(path), os.path.join(MODELS, "out.onnx")
        rows = [("metaprune prune", [METAPRUNE, "prune", path, "--speed-up", "2", "-o", out, "-q"]),
                ("metaprune inspect", [METAPRUNE, "inspect", path, "-q"]),
                ("onnxsim 0.8.1", [sys.executable, "-c", ONNXSIM, path, out, "0.3"]),
                ("Torch-Pruning 1.6.1 and export", [sys.executable, "-c", TORCH_PRUNING, model, out])]
        base = None
        for tool, command in rows:
            r = measure(tool, command, runs if tool.startswith("meta") else max(1, runs // 2))
            if isinstance(r, str):
                print(f"| {model} | {tool} | {r} | | |", flush=True)
                continue
            base = base or r[0]
            print(f"| {model} | {tool} | {r[0]:.2f} | {r[0] / base:.1f}x | {r[1] / size:.1f} |", flush=True)
        os.path.exists(out) and os.remove(out)


if __name__ == "__main__":
    main()
