"""Accuracy of a pruned network with and without repair, before and after one epoch of finetuning. Resumable: points that OUT.jsonl has are not measured again.

bench/repair.py MODEL DATA OUT [--speed-ups 1.2,1.5,2,3] [--repairs none,noise,data] [--seeds 0,1,2] [--epochs 1] [--backend xla:cpu]
writes OUT.jsonl (points) and OUT.md (the table)."""
import argparse, json, os, statistics, subprocess, tempfile

def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model"); p.add_argument("data"); p.add_argument("out")
    p.add_argument("--binary", default="bin/metaprune"); p.add_argument("--backend", default="xla:cpu")
    p.add_argument("--speed-ups", default="1.2,1.5,2,3"); p.add_argument("--repairs", default="none,noise,data")
    p.add_argument("--seeds", default="0,1,2"); p.add_argument("--epochs", type=int, default=1); p.add_argument("--samples", type=int, default=100)
    return p.parse_args()

def points(path):
    return [json.loads(line) for line in open(path)] if os.path.exists(path) else []

def run(a, *words):
    r = subprocess.run([a.binary, *words, "--backend", a.backend, "--json"], capture_output=True, text=True)
    if r.returncode: raise SystemExit(f"{' '.join(words)}: {r.stderr}")
    return json.loads(r.stdout)

def measure(a, folder, speed, repair, seed):
    cut, tuned = f"{folder}/cut.onnx", f"{folder}/tuned.onnx"
    how = {"none": [], "noise": ["--repair", "noise", "--samples", str(a.samples)], "data": ["--calibrate", a.data, "--samples", str(a.samples)]}[repair]
    p = run(a, "prune", a.model, "--speed-up", speed, "-o", cut, "--seed", seed, *how)
    point = {"speed_up": float(speed), "achieved": p["speed_up"], "repair": repair, "seed": int(seed), "before": run(a, "eval", cut, "--data", a.data)["accuracy"]}
    if p.get("repair"): point |= {"cosine": [p["repair"]["before"]["cosine"], p["repair"]["after"]["cosine"]], "repair_seconds": p["repair"]["seconds"]}
    t = run(a, "finetune", cut, "--data", a.data, "--epochs", str(a.epochs), "--seed", seed, "-o", tuned, "--run", f"{folder}/run")
    return point | {"after": t["test"]["accuracy"], "finetune_seconds": t["seconds"]}

def spread(v): return f"{100 * statistics.mean(v):.2f} ± {100 * statistics.pstdev(v):.2f}"

def table(a, all_points):
    out = ["| speed-up | repair | directly after pruning | after finetuning | cosine before -> after | seeds |", "|---|---|---|---|---|---|"]
    for s in a.speed_ups.split(","):
        for r in a.repairs.split(","):
            own = [p for p in all_points if p["speed_up"] == float(s) and p["repair"] == r]
            if not own: continue
            c = [p["cosine"] for p in own if "cosine" in p]
            cosine = f"{statistics.mean(x[0] for x in c):.3f} -> {statistics.mean(x[1] for x in c):.3f}" if c else ""
            out.append(f"| {s} | {r} | {spread([p['before'] for p in own])} | {spread([p['after'] for p in own])} | {cosine} | {len(own)} |")
    return "\n".join(out) + "\n"

def main():
    a = arguments(); have = points(a.out + ".jsonl")
    done = {(p["speed_up"], p["repair"], p["seed"]) for p in have}
    for seed in a.seeds.split(","):
        for speed in a.speed_ups.split(","):
            for repair in a.repairs.split(","):
                if (float(speed), repair, int(seed)) in done: continue
                with tempfile.TemporaryDirectory() as folder: have.append(measure(a, folder, speed, repair, seed))
                with open(a.out + ".jsonl", "a") as f: f.write(json.dumps(have[-1]) + "\n")
                print(have[-1], flush=True)
    with open(a.out + ".md", "w") as f: f.write(table(a, have))

if __name__ == "__main__": main()
