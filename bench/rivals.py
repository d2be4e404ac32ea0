#!/usr/bin/env python3
"""The same models to the same speed-up with metaprune, onnxsim's pruning and Torch-Pruning, side by side.

    bench/rivals.py FOLDER [--speed-up 1.5] [--out docs/results/rivals] [--only NAME...] [--variants ts] [--definitions DEFS.py] [--again]

FOLDER holds exports NAME.VARIANT.onnx (bench/families.py, bench/optimised.py, or the definitions' own). Writes OUT.jsonl and OUT.md, which says what is compared and how."""
import argparse, functools, glob, json, os, re, select, signal, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "testdata"))
JUDGE = os.path.join(HERE, "..", "testdata", "check_pruned.py")
METAPRUNE = os.path.join(HERE, "..", "bin", "metaprune")
RATIOS = [0.1 * i for i in range(1, 10)]

LIMIT = 600  # seconds that one try may take
# Each tool has a process that has imported it, so that a try does not import it again. A try is a fork of that
# process: what it leaves in memory, or a crash, does not reach the next one.
SERVER = """
import sys, os, json, warnings
answers = os.fdopen(os.dup(1), "w"); os.dup2(2, 1); warnings.filterwarnings("ignore")
{work}
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        try: work(*json.loads(line)); code = 0
        except BaseException as e: code = 1; print(json.dumps(f"{{type(e).__name__}}: {{e}}"), file=answers, flush=True)
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 1: print(json.dumps("" if code == 0 else f"ends with exit code {{code}}"), file=answers, flush=True)
"""
ONNXSIM = """
import onnx, onnxsim
from onnxsim import pruning
def work(path, out, ratio, way):
    if way == "simplify": return onnx.save(onnxsim.simplify(onnx.load(path))[0], out)
    m = onnx.load(path)
    names = ["apply_structured_pruning"]
    if way == "all": names += ["apply_attention_head_pruning"] + [n for n in dir(pruning) if n.startswith("apply_structured_pruning_")]
    for name in names:
        r = getattr(pruning, name)(m, float(ratio))
        m = r[0] if isinstance(r, tuple) else r
    onnx.save(m, out)
"""
TORCH_PRUNING = """
import torch, torch_pruning as tp, timm
def build(name, definitions, side):
    if definitions:
        sys.path.insert(0, os.path.dirname(definitions)); import defs
        if name in defs.M: return defs.M[name]["build"](), defs.M[name]["inp"]()
    return timm.create_model(name, pretrained=False, exportable=True), (torch.randn(1, 3, side, side),)
def work(name, out, ratio, definitions, side):
    torch.set_num_threads(1); torch.manual_seed(0)
    m, x = build(name, definitions, side); m.eval()
    last = [k for k in m.modules() if isinstance(k, (torch.nn.Linear, torch.nn.Conv2d))][-1]
    p = tp.pruner.BasePruner(m, x if len(x) > 1 else x[0], importance=tp.importance.GroupMagnitudeImportance(p=2), global_pruning=True, pruning_ratio=float(ratio), ignored_layers=[last])
    p.step()
    torch.onnx.export(m, x, out, dynamo=False, opset_version=17, input_names=["input"])
"""


def last_line(text): return (text.strip().splitlines() or ["failed"])[-1][:160]


class Tool:
    """A tool that is tried in forks of one process."""
    def __init__(self, work): self.work, self.process = work, None

    def run(self, *arguments, limit=LIMIT):
        """The error, empty where there is none, and the seconds that it took."""
        if self.process is None:
            self.process = subprocess.Popen([sys.executable, "-c", SERVER.format(work=self.work)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        start = time.time()
        self.process.stdin.write(json.dumps(arguments) + "\n"); self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], limit)[0]:
            os.killpg(self.process.pid, signal.SIGKILL); self.process.wait(); self.process = None
            return f"takes longer than {limit} s", limit
        error = json.loads(self.process.stdout.readline())
        return error and last_line(error), time.time() - start


def run(command, limit=LIMIT):
    start = time.time()
    try: r = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired: return f"takes longer than {limit} s", limit
    return (last_line(r.stderr) if r.returncode else ""), time.time() - start


PRODUCTS = {  # operator: where its weight or second matrix is
    **dict.fromkeys(["Conv", "ConvTranspose", "FusedConv", "NhwcConv", "ConvInteger", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits", "Attention", "QAttention", "MultiHeadAttention", "LSTM", "DynamicQuantizeLSTM", "GRU", "RNN"], 1),
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
        elif n.op_type in ("LSTM", "DynamicQuantizeLSTM", "GRU", "RNN"): macs += math.prod(a[:2]) * (math.prod(w) + math.prod(dims[n.input[2]]))
        elif "Attention" in n.op_type: macs += attention(n, a, w, y)
        elif "Gemm" in n.op_type: macs += math.prod(y) * (w[1] if next((t.i for t in n.attribute if t.name == "transB"), 0) else w[0])
        elif a: macs += math.prod(y) * a[-1]
    constants = [t for t in model.graph.initializer] + [a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"]
    return macs, sum(math.prod(t.dims) for t in constants if t.data_type in (1, 10, 11, 16) or t.name in quantised)


@functools.lru_cache(maxsize=1)
def original_cost(path):
    import onnx, check_pruned as judge
    return cost(onnx.load(path), judge.random_inputs(path, 0, {}))


def look(original, result):
    """What a result is worth, without a plan."""
    import onnx, check_pruned as judge
    try:
        a, b = onnx.load(original), onnx.load(result)
        face = lambda m: [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in list(m.graph.input) + list(m.graph.output)]
        if face(a) != face(b): return {"error": "inputs or outputs have other shapes"}
        feeds = judge.random_inputs(result, 0, {})
        del b.graph.value_info[:]  # shapes that the peer has left as they were
        (m0, p0), (m1, p1) = original_cost(original), cost(b, feeds)
        return {"speed_up": round(m0 / max(m1, 1), 3), "params": round(p0 / max(p1, 1), 3)}
    except Exception as e: return {"error": f"{type(e).__name__}: {e}".replace(os.path.dirname(result) + "/", "")[:160]}


def search(original, target, attempt, out):
    """The first of RATIOS with the speed-up, looked for from 0.3 on, up or down; the best one where none has it."""
    best, errors, seen = None, [], {}

    def at(i):
        nonlocal best
        if os.path.exists(out): os.remove(out)
        error, seconds = attempt(RATIOS[i])
        got = {"error": error} if error else look(original, out)
        seen[i] = got
        if "error" in got: return errors.append(got["error"])
        got |= {"ratio": round(RATIOS[i], 2), "seconds": round(seconds, 1)}
        if not best or got["speed_up"] > best["speed_up"]: best = got
        return got["speed_up"] >= 0.999 * target

    i = 2
    while i < len(RATIOS) and not at(i):
        if i == 5 and best and best["speed_up"] <= 1.001: return best  # does nothing
        i += 1
    first = i if i < len(RATIOS) and "error" not in seen[i] else None
    for j in (1, 0):
        if first is not None and first > 2: break
        if not at(j) and first is not None: break
        if seen[j].get("speed_up", 0) >= 0.999 * target: first = j
    return seen[first] if first is not None else best or {"error": errors[0]}


def onnxsim(tool, path, target, folder):
    """Its best way; the first that has the speed-up."""
    best, out, simple = {"error": "failed"}, f"{folder}/out.onnx", f"{folder}/simple.onnx"
    error, _ = tool.run(path, simple, 0, "simplify")
    for way, file in (("plain", path),) if error else (("all", simple), ("structured", simple), ("plain", path)):
        got = search(path, target, lambda r: tool.run(file, out, r, way), out) | {"way": way}
        if "error" not in got and got["speed_up"] > best.get("speed_up", 0) or "error" in best and "error" in got: best = got
        if best.get("speed_up", 0) >= 0.999 * target: break
    return best


def metaprune(path, a, folder):
    """What it reaches, and whether the judge finds its result equal to the masked original."""
    small, plan = f"{folder}/own.onnx", f"{folder}/own.json"
    error, seconds = run([METAPRUNE, "prune", path, "--speed-up", str(a.speed_up), "-o", small, "--plan", plan, "-q"])
    if error: return {"error": error}
    verdict = json.loads(subprocess.run([sys.executable, JUDGE, path, small, plan], capture_output=True, text=True).stdout.splitlines()[-1])
    return look(path, small) | {"seconds": round(seconds, 2), "correct": bool(verdict.get("equal") and verdict["shapes"] and not verdict["not_removed"]), "difference": verdict.get("max_rel_err")}


def torch_pruning(tool, path, a, folder):
    """Nothing where the PyTorch model's own export is another file."""
    import onnx
    name, *variant = os.path.basename(path)[:-5].split(".")
    if variant != ["ts"]: return None
    out, definitions = f"{folder}/out.onnx", os.path.abspath(a.definitions) if a.definitions else ""
    side = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim[-1].dim_value
    return search(path, a.speed_up, lambda r: tool.run(name, out, r, definitions, side), out)


def measure(path, a, which):
    """What the tools that are named reach on one file."""
    with tempfile.TemporaryDirectory() as folder:
        ways = {"metaprune": lambda: metaprune(path, a, folder), "onnxsim": lambda: onnxsim(TOOLS["onnxsim"], path, a.speed_up, folder),
                "torch_pruning": lambda: torch_pruning(TOOLS["torch_pruning"], path, a, folder)}
        return {k: ways[k]() for k in which}


TOOLS = {"onnxsim": Tool(ONNXSIM), "torch_pruning": Tool(TORCH_PRUNING)}
NAMES = {"metaprune": "metaprune", "onnxsim": "onnxsim 0.8.1", "torch_pruning": "Torch-Pruning 1.6.1"}
VARIANTS = {
    "ts": "TorchScript exporter", "dy": "dynamo exporter", "ort": "saved by ONNX Runtime, optimised", "fused": "fused by onnxruntime.transformers",
    "qdq": "QDQ, unsigned activations", "qdq8": "QDQ, signed activations", "qop": "QLinear operators", "dynamic": "dynamically quantised",
    "opset18": "operator set 18", "opset23": "operator set 23", "opset24": "operator set 24",
}
REASONS = (
    (r"cannot be reached; the most that can be removed gives 1.000", "no channel can be pruned"),
    (r"ONNXRuntimeError.*running Conv", "ONNX Runtime cannot run a Conv of the result"),
    (r"ONNXRuntimeError", "ONNX Runtime cannot run the result"),
    (r"IndexError", "an index is out of range"),
    (r"RuntimeError: (shape|weight)", "tensor sizes do not match"),
)
METHOD = """    bench/rivals.py FOLDER

- metaprune and onnxsim prune the .onnx file. Torch-Pruning prunes the PyTorch model (timm, torchvision or the file given by --definitions), and its result is exported.
- onnxsim and Torch-Pruning get the first of the ratios 0.1 to 0.9 that reaches the speed-up, else the ratio with the highest speed-up. A tool that removes nothing at 0.6 is not tried at higher ratios. No other setting depends on the model, except the layer that gives the classes.
- onnxsim simplifies the model first, which fuses BatchNormalization. Then each of its functions that removes channels or heads is applied, for float and for quantised layers. Where that does not reach the speed-up, its structured pruning of the simplified and of the original file is tried.
- A result counts if ONNX Runtime runs it and its inputs and outputs are the original's. Whether its outputs are right is judged for metaprune only, by `testdata/check_pruned.py` as in [zoo.md](zoo.md): they equal those of the original whose removed slices are zero, up to 0.1 % of the largest output.
- MACs are counted at the shapes that ONNX Runtime computes, with integer and fused products. Parameters include quantised weights.

A cell holds the ratio of MACs, then the ratio of parameters.
"""


def cell(r, target):
    if r is None: return ""
    if "error" in r: return "fails: " + next((said for pattern, said in REASONS if re.search(pattern, r["error"])), "error")
    if r["speed_up"] <= 1.001: return "does nothing"
    wrong = f" (judged not correct: outputs differ by {100 * r['difference']:.1f} %)" if r.get("correct") is False and r.get("difference") is not None else ""
    few = f" (keeps {100 / r['params']:.1f} % of the parameters)" if r["params"] >= 50 else ""
    return f"{r['speed_up']:.2f}x, {r['params']:.2f}x" + few + wrong + ("" if r["speed_up"] >= 0.999 * target else " (highest)")


def reached(points, tool, target): return sum(x[tool].get("speed_up", 0) >= 0.999 * target for x in points if x.get(tool))


def asked(points, tool): return sum(bool(x.get(tool)) for x in points)


def variant(point): return point["model"].split(".", 1)[1]


def page(points, target):
    """The page: conclusions, one row per kind of file, then one per file."""
    said = {k: f"- {NAMES[k]} reaches {target}x on {reached(points, k, target)} of {asked(points, k)} files" for k in NAMES}
    judged = [x["metaprune"]["correct"] for x in points if "correct" in x["metaprune"]]
    if len(judged) == sum("error" not in x["metaprune"] for x in points): said["metaprune"] += f"; {sum(judged)} of its {len(judged)} results are judged correct"
    if any(variant(x) != "ts" for x in points): said["torch_pruning"] += ". It reads no .onnx file, so it is compared on exports of a PyTorch model only"
    lines = [f"# metaprune, onnxsim and Torch-Pruning at {target}x", *(line + "." for line in said.values()), "", f"Files that reach {target}x, by kind:", "",
             f"| kind of file | name | {' | '.join(NAMES.values())} |", "|---|---|---|---|---|"]
    for v, words in VARIANTS.items():
        of = [x for x in points if variant(x) == v]
        counts = " | ".join(f"{reached(of, k, target)} of {asked(of, k)}" if asked(of, k) else "" for k in NAMES)
        if of: lines.append(f"| {words} | {v} | {counts} |")
    lines += ["", METHOD, "| model | " + " | ".join(NAMES.values()) + " |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {x['model']} | " + " | ".join(cell(x.get(k), target) for k in NAMES) + " |" for x in points]) + "\n"


def save(points, a):
    """Writes both files anew; a stop in between leaves the old ones."""
    points.sort(key=lambda x: list(VARIANTS).index(variant(x)))
    for end, text in ((".jsonl", "".join(json.dumps(x) + "\n" for x in points)), (".md", page(points, a.speed_up))):
        with open(a.out + end + ".part", "w") as f: f.write(text)
        os.replace(a.out + end + ".part", a.out + end)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", nargs="+"); p.add_argument("--speed-up", type=float, default=1.5); p.add_argument("--out", default="docs/results/rivals"); p.add_argument("--only", nargs="*")
    p.add_argument("--variants", default="ts", help="kinds of files, with commas: " + ", ".join(VARIANTS)); p.add_argument("--definitions", default="")
    p.add_argument("--again", nargs="*", choices=list(NAMES), help="measure these tools again (default: metaprune), of models that OUT.jsonl has")
    a = p.parse_args()
    again = a.again if a.again is None else a.again or ["metaprune"]
    points = [json.loads(x) for x in open(a.out + ".jsonl")] if os.path.exists(a.out + ".jsonl") else []
    files = {os.path.basename(f)[:-5]: f for folder in a.folder for f in glob.glob(f"{folder}/*.onnx")}
    at = {x["model"]: x for x in points}
    for v in a.variants.split(","):
        for name in sorted(n for n in files if n.split(".", 1)[1] == v and (n in at) == (again is not None)):
            if a.only and not any(o in name for o in a.only): continue
            got = at.setdefault(name, {"model": name})
            if again is None: points.append(got)
            got |= measure(files[name], a, again or NAMES)
            print(json.dumps(got), file=sys.stderr, flush=True)
            save(points, a)
    save(points, a)


if __name__ == "__main__":
    main()
