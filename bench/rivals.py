#!/usr/bin/env python3
"""The same models to the same speed-up with metaprune, onnxsim's pruning and Torch-Pruning, side by side.

    bench/rivals.py FOLDER [--speed-up 1.5] [--out docs/results/rivals] [--only NAME...] [--variants ts] [--definitions DEFS.py]

FOLDER holds exports NAME.VARIANT.onnx (bench/families.py, or the definitions' own). metaprune and onnxsim start from the file; Torch-Pruning, which needs the PyTorch model, from timm, torchvision or the definitions, and its result is
exported. Each peer gets the first of the ratios 0.1, 0.2, .. 0.9 whose result has the speed-up, or its best; nothing is set per model but the layer that gives the classes. What counts: ONNX Runtime loads and runs the result, inputs and
outputs are the original's, and the multiply-accumulates and parameters as testdata/check_pruned.py counts them. Whether a peer's result computes what the original computes without the removed channels is not looked at. Both peers offer more to those who choose by hand: onnxsim functions of their own for
attention heads and quantised layers, Torch-Pruning the number of heads and layers to leave alone. Writes OUT.jsonl and OUT.md."""
import argparse, glob, json, os, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "testdata"))
METAPRUNE = os.path.join(HERE, "..", "bin", "metaprune")
RATIOS = [0.1 * i for i in range(1, 10)]

ONNXSIM = """
import sys, onnx
from onnxsim import pruning
r = pruning.apply_structured_pruning(onnx.load(sys.argv[1]), float(sys.argv[3]))
onnx.save(r[0] if isinstance(r, tuple) else r, sys.argv[2])
"""
TORCH_PRUNING = """
import sys, os, warnings, torch, torch_pruning as tp
warnings.filterwarnings("ignore"); torch.set_num_threads(1); torch.manual_seed(0)
name, out, ratio, definitions, side = sys.argv[1:6]
def build():
    if definitions:
        sys.path.insert(0, os.path.dirname(definitions)); import defs
        if name in defs.M: return defs.M[name]["build"](), defs.M[name]["inp"]()
    import timm
    return timm.create_model(name, pretrained=False, exportable=True), (torch.randn(1, 3, int(side), int(side)),)
m, x = build(); m.eval()
last = [k for k in m.modules() if isinstance(k, (torch.nn.Linear, torch.nn.Conv2d))][-1]
p = tp.pruner.BasePruner(m, x if len(x) > 1 else x[0], importance=tp.importance.GroupMagnitudeImportance(p=2), global_pruning=True, pruning_ratio=float(ratio), ignored_layers=[last])
p.step()
torch.onnx.export(m, x, out, dynamo=False, opset_version=17, input_names=["input"])
"""


def last_line(text): return (text.strip().splitlines() or ["failed"])[-1][:160]


def run(command, limit=120):
    start = time.time()
    try: r = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired: return f"takes longer than {limit} s", limit
    return (last_line(r.stderr) if r.returncode else ""), time.time() - start


def look(original, result):
    """What the judge counts, without a plan."""
    import onnx, check_pruned as judge
    try:
        a, b = onnx.load(original), onnx.load(result)
        face = lambda m: [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in list(m.graph.input) + list(m.graph.output)]
        if face(a) != face(b): return {"error": "inputs or outputs have other shapes"}
        judge.run(result, judge.random_inputs(result, 0, {}))
        del b.graph.value_info[:]  # shapes that the peer has left as they were: the count is made without them
        (m0, p0), (m1, p1) = judge.cost(a), judge.cost(b)
        return {"speed_up": round(m0 / max(m1, 1), 3), "params": round(p0 / max(p1, 1), 3)}
    except Exception as e: return {"error": f"{type(e).__name__}: {e}".replace(os.path.dirname(result) + "/", "")[:160]}


def search(original, target, command, out):
    """The first ratio with the speed-up; the best one where none has it."""
    best, errors = None, []
    for ratio in RATIOS:
        if os.path.exists(out): os.remove(out)
        error, seconds = run(command(ratio))
        got = {"error": error} if error else look(original, out)
        if "error" in got:
            errors.append(got["error"])
            if len(errors) > 2 and not best: break
            continue
        if not best or got["speed_up"] > best["speed_up"]: best = got | {"ratio": round(ratio, 2), "seconds": round(seconds, 1)}
        if got["speed_up"] >= 0.999 * target: return best
        if ratio > 0.25 and best["speed_up"] <= 1.001: break  # does nothing
    return best or {"error": errors[0]}


def measure(path, a, folder):
    name, out = os.path.basename(path).split(".")[0], f"{folder}/out.onnx"
    error, seconds = run([METAPRUNE, "prune", path, "--speed-up", str(a.speed_up), "-o", f"{folder}/own.onnx", "--plan", f"{folder}/own.json", "-q"])
    own = {"error": error} if error else look(path, f"{folder}/own.onnx") | {"seconds": round(seconds, 2)}
    import onnx
    shape = [d.dim_value for d in onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim]
    torch = lambda r: [sys.executable, "-c", TORCH_PRUNING, name, out, str(r), a.definitions, str(shape[-1])]
    return {"model": os.path.basename(path)[:-5], "metaprune": own, "onnxsim": search(path, a.speed_up, lambda r: [sys.executable, "-c", ONNXSIM, path, out, str(r)], out),
            "torch_pruning": search(path, a.speed_up, torch, out) if os.path.basename(path).split(".")[1:-1] == ["ts"] else None}


def cell(r, target):
    if r is None: return ""
    if "error" in r: return "fails: " + r["error"].replace("|", "/")[:70]
    if r["speed_up"] <= 1.001: return "does nothing"
    return f"{r['speed_up']:.2f}x, {r['params']:.2f}x" + ("" if r["speed_up"] >= 0.999 * target else " (its most)")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", nargs="+"); p.add_argument("--speed-up", type=float, default=1.5); p.add_argument("--out", default="docs/results/rivals"); p.add_argument("--only", nargs="*"); p.add_argument("--variants", default="ts"); p.add_argument("--definitions", default="")
    a = p.parse_args()
    points = [json.loads(x) for x in open(a.out + ".jsonl")] if os.path.exists(a.out + ".jsonl") else []
    done = {x["model"] for x in points}
    for path in sorted(f for folder in a.folder for f in glob.glob(f"{folder}/*.onnx")):
        name = os.path.basename(path)[:-5]
        if name in done or name.split(".", 1)[1] not in a.variants.split(",") or a.only and not any(o in name for o in a.only): continue
        with tempfile.TemporaryDirectory() as folder: points.append(measure(path, a, folder))
        print(json.dumps(points[-1]), file=sys.stderr, flush=True)
        with open(a.out + ".jsonl", "a") as f: f.write(json.dumps(points[-1]) + "\n")
    tools = [("metaprune", "metaprune"), ("onnxsim", "onnxsim 0.8.1"), ("torch_pruning", "Torch-Pruning 1.6.1")]
    reached = lambda k: sum(1 for x in points if x.get(k) and x[k].get("speed_up", 0) >= 0.999 * a.speed_up)
    asked = lambda k: sum(1 for x in points if x.get(k))
    lines = [f"# metaprune and its peers at {a.speed_up}x", "`bench/rivals.py FOLDER`: " + " ".join(__doc__.split("\n\n")[2].split()).replace("`", ""), "",
             "Speed-up and parameters, as ratios. " + "; ".join(f"{title}: {reached(k)} of {asked(k)} reach it" for k, title in tools) + ".", "", "| model | " + " | ".join(t for _, t in tools) + " |", "|---|---|---|---|"]
    lines += [f"| {x['model']} | " + " | ".join(cell(x.get(k), a.speed_up) for k, _ in tools) + " |" for x in points]
    with open(a.out + ".md", "w") as f: f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
