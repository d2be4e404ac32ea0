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


STEP = "ONNX Runtime computes these convolutions in floating point, with its optimisations and without: sums in another order differ by 4e-7, and the first of 150,528 values that is rounded differently lies 8e-6 steps from a tie"
GROUPS = "ONNX's shape inference does not know the sizes of its group normalisations, because the kernels before them are computed"
TIES = "its TopK sorts scores that differ by 3e-9: with random weights half of the 3,234 scores are equal, and their order changes"
REMARKS = {  # looked into by hand
    "bit.ts": GROUPS,
    "rtdetr-l.ts": "its TopK sorts scores that differ by 1e-6: with random weights the 525 scores lie that close together, and their order changes",
    **{f"ssdlite320_mobilenet_v3_large.fix{n}": TIES for n in (11, 13, 15)},
    "resnet18.qdq8": STEP, "squeezenet1_1.qdq": "sums in another order differ by 4e-7, and the first of 65,610 values that is rounded to another step of 8 bits lies 3e-6 steps from a tie",
    "squeezenet1_1.dynamic": "biases of zeros share one tensor in the export and get different lengths, which the judge counts as more parameters",
    "coat_tiny.tshw": "ONNX's shape inference knows few of its sizes",
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
    out = ["| model | speed-up | parameters, ratio | largest relative difference to the masked original | seconds | judged | remark |", "|---|---|---|---|---|---|---|"]
    for p in points:
        note = p.get("error", "")
        if "own_speed_up" in p: note = f"{p['own_speed_up']:.2f}x with integer and fused products, which the judge does not count"
        if "reachable" in p: note = f"at most {p['reachable']:.2f}x can be reached" + (f"; {p['error']}" if "error" in p else "")
        note = "; ".join(x for x in (note, REMARKS.get(p["model"], "")) if x)
        out.append(f"| {p['model']} | {p.get('speed_up', 0):.2f}x | {p.get('params', 0):.2f}x | {p.get('max_rel_err', float('nan')):.1e} | {p.get('seconds', 0)} | {'ok' if p['ok'] else '**no**'} | {note} |")
    return "\n".join(out) + "\n"


def conclusion(points, wanted=1.5):
    cut = [p for p in points if "nothing" not in p]
    short, bad = [p for p in cut if "reachable" in p], [p for p in cut if not p["ok"]]
    reached = len(cut) - len(short)
    out = [f"- {len(cut) - len(bad)} of {len(cut)} pruned models are judged correct: in ONNX Runtime their outputs equal those of the masked original (the original whose removed slices are zero).",
           f"- {reached} of {len(cut)} reach {wanted}x" + ("." if not short and not bad else "; the remarks give the reasons for the others.")]
    if len(points) > len(cut): out.append(f"- {len(points) - len(cut)} further models have no channels that can be pruned.")
    return "\n".join(out) + "\n\n"


def free(name):
    """What free sizes are tried at, where the judge's own would not do."""
    network, variant = name.split(".")[0], name.split(".")[-1]
    if variant == "optimum": return [x for d in ("num_channels=3", "height=64", "width=64", "past_sequence_length=32", "past_sequence_length + sequence_length=96") for x in ("--dim", d)]
    if variant != "tshw": return []
    side = next((s for s, names in json.load(open(os.path.join(HERE, "wide.json"))).items() if network in names), "224")
    return ["--dim", f"h={side}", "--dim", f"w={side}", "--dim", "batch=2"]


MEASURED = "    {command}\n    bench/zoo.py FOLDER --wide --out docs/results/{name}\n\n{networks} Each is pruned to 1.5x by group L2 and judged by `testdata/check_pruned.py`.\nA number is the speed-up that the judge counts. {cells}\n\n"
BELOW = "In brackets: the highest speed-up that can be reached, where that is below 1.5x."

PAGES = {
    "wide": ("A network of nearly every module of timm", {"ts": "TorchScript", "tsb": "any batch", "tshw": "any batch, height and width", "dy": "dynamo", "dyb": "any batch"}, MEASURED.format(
        command="bench/families.py FOLDER --wide", name="wide", networks="Networks with random weights, exported by PyTorch's TorchScript exporter and its dynamo exporter, with fixed and with free sizes.",
        cells=BELOW + " Empty: the export failed or was not made.")),
    "keras": ("Networks of Keras", {"tf": "opset 17, batch 1", "tfb": "opset 13, any batch"}, MEASURED.format(
        command="bench/kerasnets.py FOLDER", name="keras", networks="Networks with random weights (Keras 3.15.1, TensorFlow 2.21.0), exported by tf2onnx 1.17.0. ConvNeXt and other networks with a GELU are missing, because tf2onnx 1.17.0 writes an operator for it that does not exist.",
        cells=BELOW)),
    "opsets": ("Opsets 9 to 15", {f"{kind}{n}": f"opset {n}, {said}" for n in (9, 11, 13, 15) for kind, said in (("fix", "fixed"), ("op", "free"))}, MEASURED.format(
        command="bench/opsets.py FOLDER", name="opsets", networks="Networks of transformers 5.24.0, ultralytics 8.4.190, timm 1.0.31 and torchvision with random weights (torch 2.15), exported by PyTorch's TorchScript exporter with fixed sizes and with a free batch (and text length).",
        cells=BELOW + " Empty: the export failed, or ONNX Runtime does not run it.")),
    "exporters": ("Other exporters", {"optimum": "optimum-onnx", "jax": "jax2onnx", "paddle": "paddle2onnx"}, MEASURED.format(
        command="bench/exporters.py optimum|jax|paddle FOLDER", name="exporters", networks="Small networks with random weights, exported by optimum-onnx 0.1.0 (transformers 4.57.6), by jax2onnx 0.17.1 (its own examples of flax 0.12.8 and equinox 0.13.8; those with layers in functions after `metaprune inline`) and by paddle2onnx 2.1.0 (PaddlePaddle 3.3.1).",
        cells=BELOW + " A dash: no channel can be pruned. A star: counted by metaprune, because the judge does not count Einsum.")),
    "hub": ("Networks of Hugging Face's transformers and of ultralytics", {"ts": "TorchScript, any batch and length", "dy": "dynamo", "dyb": "any batch"}, MEASURED.format(
        command="bench/hub.py FOLDER", name="hub", networks="Small configurations with random weights (transformers 5.24.0, ultralytics 8.4.190, torch 2.15), exported by PyTorch's TorchScript exporter and its dynamo exporter. Most are networks without a task's head: their width is an output, so it is kept.",
        cells=BELOW + " Empty: the export failed, ONNX Runtime does not run it, or it works only for the batch and length that it was made with.")),
}


REASONS = (  # what reports of earlier programs say, in today's words
    (r"^graph output ", "the graph output "),
    (r"takes a mean over an axis whose length a reader of the file does not know", "averages over an axis whose length ONNX's shape inference does not know"),
    (r"couples it with an axis that is not cut", "couples it with an axis that is not pruned"),
    (r"no layer whose cost is known can shrink", "no layer can be pruned"),
)


def plain(reason):
    for old, new in REASONS: reason = re.sub(old, new, reason)
    return reason


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
        why = p.get("error") or ("" if p["ok"] else f"outputs differ by {p['max_rel_err']:.2g} (relative)")
        counted = f"at static shapes at most {p['reachable']:.2f}x, because ONNX's shape inference knows few of the shapes; with shapes evaluated at most {p['computed']:.2f}x" if "computed" in p else ""
        kept = "" if counted or "reachable" not in p else "; ".join(f"{n} channels cannot be pruned: {plain(w)}" for w, n in sorted(p["frozen"].items(), key=lambda x: -x[1])[:2]) or "no channels can be pruned"
        notes.append(f"| {p['model']} | " + "; ".join(x for x in (why, counted, REMARKS.get(p["model"], kept)) if x) + " |")
    notes += [f"| {p['model']} | {plain(p['nothing'])} |" for p in points if "nothing" in p]
    return "\n".join(out) + ("\n\n## Remarks\n| model | reason |\n|---|---|\n" if notes else "") + "\n".join(notes) + "\n"


ZOO = """    bench/zoo.py FOLDER --speed-up {target}

Each model is pruned by group L2 and judged by `testdata/check_pruned.py`.

| ending of the name | made by |
|---|---|
| `ts`, `tsbn` | PyTorch's TorchScript exporter, without and with BatchNormalization nodes |
| `dy`, `dybn`, `dynb` | PyTorch's dynamo exporter; `dynb` has a dynamic batch |
| `opset18` to `opset24` | PyTorch's exporters, with this opset |
| `fused` | onnxruntime.transformers |
| `qdq`, `qdq8`, `qop`, `dynamic` | onnxruntime.quantization |
| `ort` | ONNX Runtime, as it saves the optimised model |

"""


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
        title, variants, measured = PAGES[os.path.basename(a.out)]
        text = f"# {title}\n" + conclusion(points) + measured + wide(points, variants)
    else:
        text = f"# Known architectures at {a.speed_up}x\n" + conclusion(points, a.speed_up) + ZOO.format(target=a.speed_up) + table(points)
    with open(a.out + ".md", "w") as f: f.write(text)
    print(text)


if __name__ == "__main__":
    main()
