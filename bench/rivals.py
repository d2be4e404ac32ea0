#!/usr/bin/env python3
"""The same models to the same speed-up with metaprune, onnxsim's pruning and Torch-Pruning, side by side.

    bench/rivals.py FOLDER [--speed-up 1.5] [--out docs/results/rivals] [--only NAME...] [--variants ts] [--definitions DEFS.py] [--again]

FOLDER holds exports NAME.VARIANT.onnx (bench/families.py, bench/optimised.py, or the definitions' own). Writes OUT.jsonl and OUT.md, which says what is compared and how."""
import argparse, glob, json, os, re, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "testdata"))
METAPRUNE = os.path.join(HERE, "..", "bin", "metaprune")
RATIOS = [0.1 * i for i in range(1, 10)]

ONNXSIM = """
import sys, onnx
from onnxsim import pruning
path, out, ratio, way = sys.argv[1:5]
m = onnx.load(path)
names = ["apply_structured_pruning"]
if way == "all": names += ["apply_attention_head_pruning"] + [n for n in dir(pruning) if n.startswith("apply_structured_pruning_")]
for name in names:
    r = getattr(pruning, name)(m, float(ratio))
    m = r[0] if isinstance(r, tuple) else r
onnx.save(m, out)
"""
SIMPLIFY = "import sys, onnx, onnxsim; onnx.save(onnxsim.simplify(onnx.load(sys.argv[1]))[0], sys.argv[2])"
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


PRODUCTS = {  # operator: where its weight or second matrix is
    **dict.fromkeys(["Conv", "ConvTranspose", "FusedConv", "NhwcConv", "ConvInteger", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits", "Attention", "QAttention", "MultiHeadAttention", "LSTM", "GRU", "RNN"], 1),
    **dict.fromkeys(["QLinearConv", "QLinearMatMul", "QGemm"], 3)}


def shapes(model, feeds):
    """The shape of every value, as ONNX Runtime computes it."""
    import onnx, onnxruntime as ort
    m = onnx.ModelProto.FromString(model.SerializeToString())
    have = {o.name for o in m.graph.output}
    values = [o for n in m.graph.node for o in n.output if o and o not in have]
    m.graph.output.extend(onnx.helper.make_empty_tensor_value_info(v) for v in values)
    options = ort.SessionOptions()
    options.log_severity_level, options.graph_optimization_level = 4, ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])
    out = {o.name: list(getattr(v, "shape", [])) for o, v in zip(session.get_outputs(), session.run(None, feeds))}
    return out | {t.name: list(t.dims) for t in m.graph.initializer} | {k: list(v.shape) for k, v in feeds.items()}


def attention(n, a, w, y):
    """Products of queries and keys, of weights and values, and of the projections that a node of ONNX Runtime holds."""
    import math
    if n.domain == "com.microsoft" and n.op_type != "MultiHeadAttention": return math.prod(a[:-1]) * (math.prod(w) + 2 * a[1] * y[-1])
    rows = math.prod(a[:3]) if len(a) == 4 else a[0] * a[1]
    return rows * (w[-2] if len(w) > 2 else 1) * (a[-1] + y[-1])


def cost(model, feeds):
    """Multiply-accumulates of every product, and parameters: real weights, and integers that products or DequantizeLinear read."""
    import math
    dims, macs, quantised = shapes(model, feeds), 0, set()
    for n in model.graph.node:
        if n.op_type == "DequantizeLinear": quantised.add(n.input[0])
        at = PRODUCTS.get(n.op_type)
        if at is None or len(n.input) <= at: continue
        quantised.add(n.input[at])
        a, w, y = dims.get(n.input[0], []), dims.get(n.input[at], []), dims.get(n.output[0], [])
        if "Conv" in n.op_type: macs += math.prod(a if n.op_type == "ConvTranspose" else y) * math.prod(w[1:])
        elif n.op_type in ("LSTM", "GRU", "RNN"): macs += math.prod(a[:2]) * (math.prod(w) + math.prod(dims[n.input[2]]))
        elif "Attention" in n.op_type: macs += attention(n, a, w, y)
        elif "Gemm" in n.op_type: macs += math.prod(y) * (w[1] if next((t.i for t in n.attribute if t.name == "transB"), 0) else w[0])
        elif a: macs += math.prod(y) * a[-1]
    constants = [t for t in model.graph.initializer] + [a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"]
    return macs, sum(math.prod(t.dims) for t in constants if t.data_type in (1, 10, 11, 16) or t.name in quantised)


def look(original, result):
    """What a result is worth, without a plan."""
    import onnx, check_pruned as judge
    try:
        a, b = onnx.load(original), onnx.load(result)
        face = lambda m: [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in list(m.graph.input) + list(m.graph.output)]
        if face(a) != face(b): return {"error": "inputs or outputs have other shapes"}
        feeds = judge.random_inputs(result, 0, {})
        del b.graph.value_info[:]  # shapes that the peer has left as they were
        (m0, p0), (m1, p1) = cost(a, feeds), cost(b, feeds)
        return {"speed_up": round(m0 / max(m1, 1), 3), "params": round(p0 / max(p1, 1), 3)}
    except Exception as e: return {"error": f"{type(e).__name__}: {e}".replace(os.path.dirname(result) + "/", "")[:160]}


def search(original, target, command, out):
    """The first of RATIOS with the speed-up, looked for from 0.3 on, up or down; the best one where none has it."""
    best, errors, seen = None, [], {}

    def at(i):
        nonlocal best
        if os.path.exists(out): os.remove(out)
        error, seconds = run(command(RATIOS[i]))
        got = {"error": error} if error else look(original, out)
        seen[i] = got
        if "error" in got: return errors.append(got["error"])
        got |= {"ratio": round(RATIOS[i], 2), "seconds": round(seconds, 1)}
        if not best or got["speed_up"] > best["speed_up"]: best = got
        return got["speed_up"] >= 0.999 * target

    i = 2
    while i < len(RATIOS) and not at(i):
        if len(errors) > 2 and not best: break
        if i == 5 and best and best["speed_up"] <= 1.001: return best  # does nothing
        i += 1
    first = i if i < len(RATIOS) and "error" not in seen[i] else None
    for j in (1, 0):
        if first is not None and first > 2: break
        if not at(j) and first is not None: break
        if seen[j].get("speed_up", 0) >= 0.999 * target: first = j
    return seen[first] if first is not None else best or {"error": errors[0]}


def onnxsim(path, target, folder):
    """Its best way; the first that has the speed-up."""
    best, out, simple = {"error": "failed"}, f"{folder}/out.onnx", f"{folder}/simple.onnx"
    error, _ = run([sys.executable, "-c", SIMPLIFY, path, simple], 300)
    for way, file in (("plain", path),) if error else (("all", simple), ("structured", simple), ("plain", path)):
        got = search(path, target, lambda r: [sys.executable, "-c", ONNXSIM, file, out, str(r), way], out) | {"way": way}
        if "error" not in got and got["speed_up"] > best.get("speed_up", 0) or "error" in best and "error" in got: best = got
        if best.get("speed_up", 0) >= 0.999 * target: break
    return best


def metaprune(path, a, folder):
    error, seconds = run([METAPRUNE, "prune", path, "--speed-up", str(a.speed_up), "-o", f"{folder}/own.onnx", "-q"])
    return {"error": error} if error else look(path, f"{folder}/own.onnx") | {"seconds": round(seconds, 2)}


def measure(path, a, folder):
    name, out = os.path.basename(path).split(".")[0], f"{folder}/out.onnx"
    own = metaprune(path, a, folder)
    import onnx
    shape = [d.dim_value for d in onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim]
    torch = lambda r: [sys.executable, "-c", TORCH_PRUNING, name, out, str(r), a.definitions, str(shape[-1])]
    return {"model": os.path.basename(path)[:-5], "metaprune": own, "onnxsim": onnxsim(path, a.speed_up, folder),
            "torch_pruning": search(path, a.speed_up, torch, out) if os.path.basename(path).split(".")[1:-1] == ["ts"] else None}


REASONS = (
    (r"ONNXRuntimeError.*running Conv", "ONNX Runtime cannot run a Conv of the result"),
    (r"ONNXRuntimeError", "ONNX Runtime cannot run the result"),
    (r"IndexError", "an index is out of range"),
    (r"RuntimeError: (shape|weight)", "tensor sizes do not match"),
)
METHOD = """    bench/rivals.py FOLDER

- metaprune and onnxsim prune the .onnx file. Torch-Pruning prunes the PyTorch model (timm, torchvision or the file given by --definitions), and its result is exported.
- onnxsim and Torch-Pruning get the first of the ratios 0.1 to 0.9 that reaches the speed-up, else the ratio with the highest speed-up. No other setting depends on the model, except the layer that gives the classes.
- onnxsim simplifies the model first, which fuses BatchNormalization. Then each of its functions that removes channels or heads is applied, for float and for quantised layers. Where that does not reach the speed-up, its structured pruning of the simplified and of the original file is tried.
- A result counts if ONNX Runtime runs it and its inputs and outputs are the original's. Whether its outputs are right is checked for metaprune only ([zoo.md](zoo.md)).
- MACs are counted at the shapes that ONNX Runtime computes, with integer and fused products. Parameters include quantised weights.

A cell holds the ratio of MACs, then the ratio of parameters.
"""


def cell(r, target):
    if r is None: return ""
    if "error" in r: return "fails: " + next((said for pattern, said in REASONS if re.search(pattern, r["error"])), "error")
    if r["speed_up"] <= 1.001: return "does nothing"
    few = f" (keeps {100 / r['params']:.1f} % of the parameters)" if r["params"] >= 50 else ""
    return f"{r['speed_up']:.2f}x, {r['params']:.2f}x" + few + ("" if r["speed_up"] >= 0.999 * target else " (highest)")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", nargs="+"); p.add_argument("--speed-up", type=float, default=1.5); p.add_argument("--out", default="docs/results/rivals"); p.add_argument("--only", nargs="*"); p.add_argument("--variants", default="ts"); p.add_argument("--definitions", default=""); p.add_argument("--again", action="store_true", help="measure metaprune again, of models that OUT.jsonl has")
    a = p.parse_args()
    points = [json.loads(x) for x in open(a.out + ".jsonl")] if os.path.exists(a.out + ".jsonl") else []
    done = {x["model"] for x in points}
    for path in sorted(f for folder in a.folder for f in glob.glob(f"{folder}/*.onnx")):
        name = os.path.basename(path)[:-5]
        if a.again:
            for x in points:
                if x["model"] == name:
                    with tempfile.TemporaryDirectory() as folder: x["metaprune"] = metaprune(path, a, folder)
            continue
        if name in done or name.split(".", 1)[1] not in a.variants.split(",") or a.only and not any(o in name for o in a.only): continue
        with tempfile.TemporaryDirectory() as folder: points.append(measure(path, a, folder))
        print(json.dumps(points[-1]), file=sys.stderr, flush=True)
        with open(a.out + ".jsonl", "a") as f: f.write(json.dumps(points[-1]) + "\n")
    if a.again:
        with open(a.out + ".jsonl", "w") as f: f.writelines(json.dumps(x) + "\n" for x in points)
    tools = [("metaprune", "metaprune"), ("onnxsim", "onnxsim 0.8.1"), ("torch_pruning", "Torch-Pruning 1.6.1")]
    reached = lambda k: sum(1 for x in points if x.get(k) and x[k].get("speed_up", 0) >= 0.999 * a.speed_up)
    asked = lambda k: sum(1 for x in points if x.get(k))
    lines = [f"# metaprune, onnxsim and Torch-Pruning at {a.speed_up}x", *(f"- {title} reaches {a.speed_up}x on {reached(k)} of {asked(k)} exports." for k, title in tools), "", METHOD,
             "| model | " + " | ".join(t for _, t in tools) + " |", "|---|---|---|---|"]
    lines += [f"| {x['model']} | " + " | ".join(cell(x.get(k), a.speed_up) for k, _ in tools) + " |" for x in points]
    with open(a.out + ".md", "w") as f: f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
