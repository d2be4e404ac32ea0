#!/usr/bin/env python3
"""Accuracy of networks that a metanetwork was not trained on, by criterion and speed-up: directly after pruning, behind a repair on 100 unlabelled images, and finetuned. Resumable: points that OUT.jsonl has are not
measured again.

    bench/accuracy.py OUT --metanet W.safetensors --models NAME=FILE,... [--data fashion-mnist] [--speed-ups 1.5,2,3,4,6] [--criteria random,l2,metanet,obs] [--seeds 0,1,2] [--stages direct,repaired]
    bench/accuracy.py OUT --metanet W.safetensors --models NAME=FILE,... --stages finetuned --speed-ups 3,6 [--limit 20000] [--epochs 1]

Seeds draw the images of the repair, random scores and the order of finetuning. `progressive` is l2 in three steps with a third of the finetuning images behind each. `allocated` is obs with shares of groups
that `metaprune allocate` searched at 6x, on 400 unlabelled training images. `magnitude` and `groupnorm` are Torch-Pruning's (bench/peer.py; GroupMagnitudeImportance, and GroupNormPruner behind an epoch of sparse
training over LIMIT images, which the others do without): `repaired` is BatchNorm's statistics anew on 100 images there, and of the images of `finetuned` sparse training takes half. Writes OUT.jsonl and OUT.md."""
import argparse, functools, json, os, statistics, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = ("magnitude", "groupnorm")
SEEDLESS = {"l2", "metanet", "l1", "bn", "magnitude"}  # the same without a repair, whatever the seed


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out"); p.add_argument("--models", required=True); p.add_argument("--metanet", required=True); p.add_argument("--data", default="fashion-mnist")
    p.add_argument("--speed-ups", default="1.5,2,3,4,6"); p.add_argument("--criteria", default="random,l2,metanet,obs"); p.add_argument("--seeds", default="0,1,2")
    p.add_argument("--stages", default="direct,repaired"); p.add_argument("--limit", type=int, default=20000); p.add_argument("--epochs", type=int, default=1)
    p.add_argument("--backend", default="xla:cpu"); p.add_argument("--binary", default=os.path.join(HERE, "..", "bin", "metaprune"))
    return p.parse_args()


def run(a, *words):
    r = subprocess.run([a.binary, *map(str, words), "--backend", a.backend, "--json", "-q"], capture_output=True, text=True)
    if r.returncode: raise SystemExit(f"{' '.join(map(str, words))}: {r.stderr}")
    return json.loads(r.stdout)


def criterion(a, file, name, seed):
    if name == "allocated": return ["--criterion", "obs"] + allocation(a, file, seed)
    return ["--criterion", name] + (["--metanet", a.metanet] if name == "metanet" else [])


SEARCHED = tempfile.TemporaryDirectory()


def allocation(a, file, seed):
    """Shares of groups, searched for obs once for all speed-ups; the 100 images of the repair and 300 others judge it."""
    path = os.path.join(SEARCHED.name, f"{os.path.basename(file)}.{seed}.json")
    if not os.path.exists(path): run(a, "allocate", file, "--data", a.data, "--criterion", "obs", "--speed-up", 6, "--rounds", 2, "--seed", seed, "-o", path)
    return ["--allocation", path]


@functools.cache
def peer(file):
    from peer import Peer
    return Peer(file)


def of_peer(a, file, name, stage, seed, speed):
    tuned = stage == "finetuned"
    spent = (a.limit // 2 if tuned else a.limit) if name == "groupnorm" else 0
    m, achieved = peer(file).pruned(name, speed, seed, spent, a.epochs)
    if stage == "repaired": m = peer(file).settle(m, 100)
    if tuned: m = peer(file).fit(m, a.limit - spent, a.epochs)
    return {"speed_up": speed, "achieved": achieved, "accuracy": peer(file).accuracy(m)}


def curve(a, file, name, stage, seed, speeds):
    """One point for each speed-up that is missing."""
    if name in PEERS: return [of_peer(a, file, name, stage, seed, s) for s in speeds]
    repair = ["--calibrate", a.data, "--samples", 100] if stage == "repaired" else []
    got = run(a, "curve", file, "--speed-up", ",".join(map(str, speeds)), *criterion(a, file, name, seed), "--seed", seed, "--data", a.data, *repair)
    own = [p for p in got if p["criterion"] != "none"]
    return [{"speed_up": s, "achieved": p["speed_up"], "accuracy": p["accuracy"], "params": p["params"], "base": got[0]["accuracy"]} for s, p in zip(speeds, own)]


def finetuned(a, file, name, seed, speed):
    if name in PEERS: return of_peer(a, file, name, "finetuned", seed, speed)
    with tempfile.TemporaryDirectory() as folder:
        tune = ["--data", a.data, "--epochs", a.epochs, "--limit", a.limit, "--seed", seed]
        if name == "progressive":
            r = run(a, "pipeline", file, "--own-weights", "--speed-up", speed, "--steps", 3, "--between-epochs", 1, "--last-epochs", 1, "--data", a.data, "--limit", a.limit // 3, "--seed", seed, "-o", f"{folder}/tuned.onnx")
            return {"speed_up": speed, "achieved": r["stages"][-1]["speed_up"], "accuracy": r["stages"][-1]["test"]["accuracy"]}
        p = run(a, "prune", file, "--speed-up", speed, *criterion(a, file, name, seed), "--seed", seed, "--calibrate", a.data, "--samples", 100, "-o", f"{folder}/cut.onnx")
        t = run(a, "finetune", f"{folder}/cut.onnx", *tune, "-o", f"{folder}/tuned.onnx", "--run", f"{folder}/run")
        return {"speed_up": speed, "achieved": p["speed_up"], "accuracy": t["test"]["accuracy"]}


def cell(points):
    v = [100 * p["accuracy"] for p in points]
    return f"{statistics.mean(v):.1f}" + (f" ± {statistics.pstdev(v):.1f}" if len(v) > 1 else "") if v else ""


def tables(a, points):
    out = []
    for stage in ("direct", "repaired", "finetuned"):
        own = [p for p in points if p["stage"] == stage]
        if not own: continue
        names = [c for c in ("random", "l2", "progressive", "metanet", "obs", "allocated", *PEERS) if any(p["criterion"] == c for p in own)]
        out += [f"\n{stage}:\n", "| network | speed-up | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
        for m in dict.fromkeys(p["model"] for p in own):
            for s in sorted({p["speed_up"] for p in own if p["model"] == m}):
                at = [p for p in own if p["model"] == m and p["speed_up"] == s]
                out.append(f"| {m} | {s:g} | " + " | ".join(cell([p for p in at if p["criterion"] == c]) for c in names) + " |")
    return "\n".join(out) + "\n"


def main():
    a = arguments(); path = a.out + ".jsonl"
    points = [json.loads(line) for line in open(path)] if os.path.exists(path) else []
    done = {(p["model"], p["stage"], p["criterion"], p["speed_up"], p["seed"]) for p in points}

    def keep(more, **what):
        with open(path, "a") as f:
            for p in more: points.append(what | p); f.write(json.dumps(points[-1]) + "\n")
        print(what, [f"{p['speed_up']:g}x {100 * p['accuracy']:.1f}" for p in more], file=sys.stderr, flush=True)

    for seed in map(int, a.seeds.split(",")):
        for name, file in (m.split("=") for m in a.models.split(",")):
            for stage in a.stages.split(","):
                for c in a.criteria.split(","):
                    if stage == "direct" and (c in ("obs", "allocated", "progressive") or c in SEEDLESS and seed): continue
                    if stage != "finetuned" and c == "progressive": continue
                    missing = [s for s in map(float, a.speed_ups.split(",")) if (name, stage, c, s, seed) not in done]
                    what = dict(model=name, stage=stage, criterion=c, seed=seed)
                    if stage == "finetuned":
                        for s in missing: keep([finetuned(a, file, c, seed, s)], **what)
                    elif missing: keep(curve(a, file, c, stage, seed, missing), **what)
    with open(a.out + ".md", "w") as f: f.write(tables(a, points))
    print(tables(a, points))


if __name__ == "__main__":
    main()
