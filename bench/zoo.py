#!/usr/bin/env python3
"""Prunes every model of a folder to a speed-up, or as far as it goes, and has the result judged in ONNX Runtime.

    bench/zoo.py FOLDER... [--speed-up 1.5] [--out docs/results/zoo] [--only NAME...] [--table]
    bench/zoo.py FOLDER --wide --out docs/results/wide    (what `bench/families.py FOLDER --wide` exports, a line a network)
    bench/zoo.py FOLDER --wide --out docs/results/hub     (what `bench/hub.py FOLDER` exports; opsets, keras and exporters alike, of bench/opsets.py, bench/kerasnets.py and bench/exporters.py)

Writes OUT.jsonl and OUT.md. With --wide, models that OUT.jsonl has are not measured again."""
import argparse, glob, json, os, re, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
METAPRUNE = os.path.join(HERE, "..", "bin", "metaprune")
JUDGE = os.path.join(HERE, "..", "testdata", "check_pruned.py")


UNCOUNTED = {"QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "DynamicQuantizeLSTM", "FusedConv", "Einsum"}


STEP = "checked layer by layer: float sums in another order differ by 1e-6, and rounding to 8 bits makes whole steps of some of that"
GROUPS = "group normalisations whose sizes a reader of the file does not know, for the kernels in front of them are computed"
TIES = "what its TopK picks by differs by 3e-9, and with random weights half of its 3,234 scores equal their neighbours: they come out in another order"
REMARKS = {  # looked into by hand
    "bit.ts": GROUPS,
    "rtdetr-l.ts": "what its TopK picks by differs by 1e-6, and with random weights its 525 scores lie as close: they come out in another order",
    **{f"ssdlite320_mobilenet_v3_large.fix{n}": TIES for n in (11, 13, 15)},
    "resnet18.qdq8": STEP, "squeezenet1_1.qdq": "1 % of the outputs end one step of 8 bits apart: rounding of sums in another order",
    "squeezenet1_1.dynamic": "biases that are all zero share one tensor in the export and are cut differently: 57 parameters more",
    "mha_encoder.qdq": "weights with zero points other than 0 next to activations that are not zero: nothing can leave as zeros",
    "coat_tiny.tshw": "the judge counts little of it: most sizes are computed",
}


def uncounted(model):
    """Whether the judge misses work: products that it does not count, and what is behind operators of other domains, whose shapes ONNX does not infer."""
    import onnx
    return any(n.op_type in UNCOUNTED or n.domain not in ("", "ai.onnx") for n in onnx.load(model, load_external_data=False).graph.node)


def run(*words):
    return subprocess.run(words, capture_output=True, text=True)


def prune(model, target, small, plan):
    start = time.time()
    r = run(METAPRUNE, "prune", model, "--speed-up", str(target), "-o", small, "--plan", plan, "-q", "--json")
    return r, time.time() - start


def measure(model, target, folder):
    small, plan = f"{folder}/small.onnx", f"{folder}/plan.json"
    point = {"model": os.path.basename(model)[:-5], "wanted": target}
    r, seconds = prune(model, target, small, plan)
    if r.returncode == 1 and (m := re.search(r"the most that can be removed gives ([\d.]+)", r.stderr)):
        point["reachable"] = float(m.group(1))
        if m := re.search(r"\(([\d.]+) with them", r.stderr): point["computed"] = float(m.group(1))
        target = max(1.0, point["reachable"] * 0.999)
        r, seconds = prune(model, target, small, plan)
    if r.returncode == 1 and "the most that can be removed gives none" in r.stderr:
        return point | {"ok": True, "nothing": r.stderr.strip().split("gives none: ")[-1][-200:]}
    if r.returncode:
        return point | {"ok": False, "error": r.stderr.strip()[-300:]}
    report = json.loads(run(METAPRUNE, "inspect", model, "--json").stdout)
    frozen = {}
    for g in report["groups"] or []:
        if g.get("frozen"): frozen[g["frozen"]] = frozen.get(g["frozen"], 0) + g["units"]
    judged = [sys.executable, JUDGE, model, small, plan, *free(point["model"]), "--min-speed-up", str(target if "reachable" not in point else 1.0)]
    verdict = json.loads(run(*judged).stdout.strip().splitlines()[-1])
    if not verdict.get("ok") and verdict.get("equal") and not verdict.get("reached") and uncounted(model):
        point["own_speed_up"] = round(json.loads(r.stdout)["speed_up"], 3)
        verdict = json.loads(run(*judged[:-2]).stdout.strip().splitlines()[-1])
    return point | {"seconds": round(seconds, 2), "frozen": frozen, **{k: verdict.get(k) for k in ("ok", "speed_up", "params", "max_rel_err", "sensitivity", "error", "not_removed") if verdict.get(k) is not None}}


def table(points):
    out = ["| model | speed-up | parameters | largest difference to the masked original | seconds | judged | |", "|---|---|---|---|---|---|---|"]
    for p in points:
        note = p.get("error", "")
        if "own_speed_up" in p: note = f"the judge does not count Einsum, integer and fused products and what is behind them; with them {p['own_speed_up']:.2f}x"
        if "reachable" in p: note = f"{p['wanted']}x is beyond reach: {p['reachable']:.2f}x" + (f"; {p['error']}" if "error" in p else "")
        note = "; ".join(x for x in (note, REMARKS.get(p["model"], "")) if x)
        out.append(f"| {p['model']} | {p.get('speed_up', 0):.2f}x | {p.get('params', 0):.2f}x | {p.get('max_rel_err', float('nan')):.1e} | {p.get('seconds', 0)} | {'ok' if p['ok'] else '**no**'} | {note} |")
    good = sum(p["ok"] for p in points)
    return "\n".join(out) + f"\n\n{good} of {len(points)} are judged ok.\n"


def free(name):
    """What free sizes are tried at, where the judge's own would not do."""
    network, variant = name.split(".")[0], name.split(".")[-1]
    if variant == "optimum": return [x for d in ("num_channels=3", "height=64", "width=64", "past_sequence_length=32", "past_sequence_length + sequence_length=96") for x in ("--dim", d)]
    if variant != "tshw": return []
    side = next((s for s, names in json.load(open(os.path.join(HERE, "wide.json"))).items() if network in names), "224")
    return ["--dim", f"h={side}", "--dim", f"w={side}", "--dim", "batch=2"]


TIMM = {"ts": "TorchScript", "tsb": "any batch", "tshw": "any batch, height and width", "dy": "dynamo", "dyb": "any batch"}
WIDE_HEAD = """# A network of nearly every module of timm
`bench/families.py FOLDER --wide`, then `bench/zoo.py FOLDER --wide --out docs/results/wide`: random weights, exported by PyTorch's TorchScript exporter and its dynamo exporter, with fixed and with free sizes; pruned to 1.5x by group L2 and judged in
ONNX Runtime (`testdata/check_pruned.py`). A number is the speed-up that the judge counts; in brackets where 1.5x is beyond reach. An empty cell is an export that fails or was not made.

"""


KERAS = {"tf": "operator set 17, batch 1", "tfb": "operator set 13, any batch"}
KERAS_HEAD = """# Networks of Keras
`bench/kerasnets.py FOLDER`, then `bench/zoo.py FOLDER --wide --out docs/results/keras`: random weights (Keras 3.15.1, TensorFlow 2.21.0), exported by tf2onnx 1.17.0; pruned to 1.5x by group L2 and judged in ONNX Runtime (`testdata/check_pruned.py`). A number is the speed-up that
the judge counts; in brackets where 1.5x is beyond reach. ConvNeXt and other networks with a GELU are missing: tf2onnx 1.17.0 writes an operator for it that does not exist.

"""


OPSETS = {f"{kind}{n}": f"set {n}, {said}" for n in (9, 11, 13, 15) for kind, said in (("fix", "fixed"), ("op", "free"))}
OPSETS_HEAD = """# Older operator sets
`bench/opsets.py FOLDER`, then `bench/zoo.py FOLDER --wide --out docs/results/opsets`: networks of transformers, ultralytics, timm and torchvision with random weights (torch 2.15, transformers 5.24.0, ultralytics 8.4.190, timm 1.0.31), exported by PyTorch's TorchScript exporter with operator sets 9 to 15, with fixed sizes and
with free batch (and length of text); pruned to 1.5x by group L2 and judged in ONNX Runtime (`testdata/check_pruned.py`). A number is the speed-up that the judge counts; in brackets where 1.5x is beyond reach. An empty cell is an export that fails, or that ONNX Runtime does not run.

"""


EXPORTERS = {"optimum": "optimum-onnx", "jax": "jax2onnx", "paddle": "paddle2onnx"}
EXPORTERS_HEAD = """# Other exporters
`bench/exporters.py optimum|jax|paddle FOLDER`, then `bench/zoo.py FOLDER --wide --out docs/results/exporters`: small networks with random weights by optimum-onnx 0.1.0 (transformers 4.57.6), jax2onnx 0.17.1's own examples of flax 0.12.8 and equinox 0.13.8 (those with layers as functions behind `metaprune inline`), and
paddle2onnx 2.1.0 (PaddlePaddle 3.3.1); pruned to 1.5x by group L2 and judged in ONNX Runtime (`testdata/check_pruned.py`). A number is the speed-up that the judge counts; in brackets where 1.5x is beyond reach, a dash where nothing can leave; with a star of all products, where the judge counts no Einsum.

"""


HUB = {"ts": "TorchScript, any batch and length", "dy": "dynamo", "dyb": "any batch"}
HUB_HEAD = """# Networks of Hugging Face's transformers and of ultralytics
`bench/hub.py FOLDER`, then `bench/zoo.py FOLDER --wide --out docs/results/hub`: small configurations with random weights (transformers 5.24.0, ultralytics 8.4.190, torch 2.15), exported by PyTorch's TorchScript exporter and its dynamo exporter; pruned to 1.5x by group L2 and
judged in ONNX Runtime (`testdata/check_pruned.py`). A number is the speed-up that the judge counts; in brackets where 1.5x is beyond reach. An empty cell is an export that fails, that ONNX Runtime does not run, or that holds for no other batch or length than it was made with. Most
are the network without a task's head, so that its width is an output and stays.

"""


def wide(points, variants):
    by = {}
    for p in points: by.setdefault(p["model"].rsplit(".", 1)[0], {})[p["model"].rsplit(".", 1)[1]] = p
    def cell(p):
        if p is None: return ""
        if not p["ok"]: return "**no**"
        if "nothing" in p: return "–"
        if "own_speed_up" in p: return f"{p['own_speed_up']:.2f}x*"
        return f"({p['reachable']:.2f}x)" if "reachable" in p else f"{p['speed_up']:.2f}x"
    out = ["| network | " + " | ".join(f"`{v}` {t}" for v, t in variants.items()) + " |", "|---|" + "---|" * len(variants)]
    out += [f"| {n} | " + " | ".join(cell(v.get(k)) for k in variants) + " |" for n, v in sorted(by.items())]
    notes = []
    for p in points:
        if p["ok"] and "reachable" not in p: continue
        why = p.get("error") or ("" if p["ok"] else json.dumps({k: p.get(k) for k in ("speed_up", "max_rel_err", "sensitivity")}))
        counted = f"as the judge counts, which knows few of the shapes; {p['computed']:.2f}x of what is computed" if "computed" in p else ""
        kept = "" if counted or "reachable" not in p else "stay: " + ", ".join(f"{n} of {w}" for w, n in sorted(p["frozen"].items(), key=lambda x: -x[1])[:2])
        notes.append(f"- {p['model']}: " + "; ".join(x for x in (why, counted, REMARKS.get(p["model"], kept)) if x))
    cut = [p for p in points if "nothing" not in p]
    good = sum(p["ok"] for p in cut)
    short = sum("reachable" in p for p in cut)
    notes += [f"- {p['model']}: nothing can leave: {p['nothing']}" for p in points if "nothing" in p]
    return "\n".join(out) + f"\n\n{good} of {len(cut)} models of {len(by)} networks are judged ok" + (f"; {short} do not reach 1.5x:\n" if notes else ".") + "\n".join(notes) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", nargs="+"); p.add_argument("--speed-up", type=float, default=1.5); p.add_argument("--out", default="docs/results/zoo"); p.add_argument("--only", nargs="*"); p.add_argument("--table", action="store_true", help="write the table of what OUT.jsonl has, measure nothing"); p.add_argument("--wide", action="store_true")
    a = p.parse_args()
    points = [json.loads(x) for x in open(a.out + ".jsonl")] if a.table or a.wide and os.path.exists(a.out + ".jsonl") else []
    have = {x["model"] for x in points}
    for model in sorted(m for folder in a.folder for m in glob.glob(f"{folder}/*.onnx") if not a.table):
        if a.only and not any(o in model for o in a.only) or os.path.basename(model)[:-5] in have: continue
        with tempfile.TemporaryDirectory() as folder: points.append(measure(model, a.speed_up, folder))
        print(json.dumps(points[-1]), file=sys.stderr, flush=True)
        if a.wide:
            with open(a.out + ".jsonl", "a") as f: f.write(json.dumps(points[-1]) + "\n")
    if a.wide: points.sort(key=lambda x: x["model"])
    with open(a.out + ".jsonl", "w") as f: f.writelines(json.dumps(x) + "\n" for x in points)
    if a.wide:
        head, variants = {"hub": (HUB_HEAD, HUB), "keras": (KERAS_HEAD, KERAS), "opsets": (OPSETS_HEAD, OPSETS), "exporters": (EXPORTERS_HEAD, EXPORTERS)}.get(os.path.basename(a.out), (WIDE_HEAD, TIMM))
        with open(a.out + ".md", "w") as f: f.write(head + wide(points, variants))
        return print(wide(points, variants))
    head = f"# Known architectures at {a.speed_up}x\n`bench/zoo.py FOLDER --speed-up {a.speed_up}` over exports by PyTorch's TorchScript exporter (`ts`; `tsbn` with BatchNormalization kept) and its dynamo exporter (`dy`, `dybn`; `dynb` with a dynamic batch), over 24 further families (bench/families.py) and over what tools make of exports\n(bench/optimised.py: `opset18` to `opset24`, `fused` by onnxruntime.transformers, `qdq`, `qdq8`, `qop` and `dynamic` by onnxruntime.quantization, `ort` as ONNX Runtime saves it optimised): each is pruned by group L2, and the\nresult compared in ONNX Runtime with the original whose removed slices are zero (`testdata/check_pruned.py`).\n\n"
    with open(a.out + ".md", "w") as f: f.write(head + table(points))
    print(table(points))


if __name__ == "__main__":
    main()
