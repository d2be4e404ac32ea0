#!/usr/bin/env python3
"""Pruned and finetuned against Torch-Pruning on the same exported network: same data, number of epochs, optimizer, schedule and augmentation. Resumable: points that OUT.jsonl has are not measured again.

    bench/finetune.py MODEL OUT [--speed-ups 2,4] [--seeds 0,1,2] [--epochs 4] [--backend xla:cpu] [--methods metaprune,magnitude,groupnorm]

MODEL is a classifier of Fashion-MNIST, such as testdata/fashion-resnet20.onnx; Torch-Pruning gets the network of that file with its weights (bench/peer.py). `metaprune` is group L2 with repair on 100
unlabelled images, then EPOCHS of finetuning; `magnitude` is GroupMagnitudeImportance, then EPOCHS of finetuning; `groupnorm` is GroupNormPruner's sparse training for half of EPOCHS (which metaprune does without),
then finetuning for the other half; `groupnorm-long` has EPOCHS of each, twice what the others have. Writes OUT.jsonl and OUT.md."""
import argparse, json, os, statistics, subprocess, sys, tempfile, time

FASHION = "/usr/share/datasets/fashion-mnist"
HERE = os.path.dirname(os.path.abspath(__file__))


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model"); p.add_argument("out"); p.add_argument("--speed-ups", default="2,4"); p.add_argument("--seeds", default="0,1,2"); p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--backend", default="xla:cpu"); p.add_argument("--binary", default=os.path.join(HERE, "..", "bin", "metaprune"))
    p.add_argument("--methods", default="metaprune,magnitude,groupnorm,groupnorm-long"); p.add_argument("--lr", type=float, default=.02)
    return p.parse_args()


def ours(a, speed, seed):
    def run(*words):
        r = subprocess.run([a.binary, *words, "--backend", a.backend, "--seed", str(seed), "--json"], capture_output=True, text=True)
        if r.returncode: raise SystemExit(f"{' '.join(words)}: {r.stderr}")
        return json.loads(r.stdout)
    with tempfile.TemporaryDirectory() as folder:
        data = f"fashion-mnist:{FASHION}"
        p = run("prune", a.model, "--speed-up", str(speed), "--calibrate", data, "--samples", "100", "-o", f"{folder}/cut.onnx")
        t = run("finetune", f"{folder}/cut.onnx", "--data", data, "--epochs", str(a.epochs), "--lr", str(a.lr), "-o", f"{folder}/tuned.onnx", "--run", f"{folder}/run")
        return p["speed_up"], t["test"]["accuracy"]


def theirs(peer, method, speed, seed, epochs):
    """Sparse training takes half of the epochs, or as many again where the method is the long one."""
    sparse = epochs if method == "groupnorm-long" else epochs // 2 if method == "groupnorm" else 0
    m, achieved = peer.pruned(method.removesuffix("-long"), speed, seed, epochs=sparse)
    return achieved, peer.accuracy(peer.fit(m, 60000, epochs - (sparse if method == "groupnorm" else 0)))


def table(a, points):
    out = ["| speed-up | method | accuracy in % | achieved | seeds |", "|---|---|---|---|---|"]
    for s in a.speed_ups.split(","):
        for method in a.methods.split(","):
            own = [p for p in points if p["speed_up"] == float(s) and p["method"] == method]
            if own: out.append(f"| {s} | {method} | {100 * statistics.mean(p['accuracy'] for p in own):.2f} ± {100 * statistics.pstdev([p['accuracy'] for p in own]):.2f} | {statistics.mean(p['achieved'] for p in own):.2f}x | {len(own)} |")
    return "\n".join(out) + "\n"


def main():
    a = arguments(); path = a.out + ".jsonl"
    points = [json.loads(line) for line in open(path)] if os.path.exists(path) else []
    done = {(p["method"], p["speed_up"], p["seed"]) for p in points}
    peer = None
    for method in a.methods.split(","):
        for seed in map(int, a.seeds.split(",")):
            for speed in map(float, a.speed_ups.split(",")):
                if (method, speed, seed) in done: continue
                start = time.time()
                if method != "metaprune" and peer is None:
                    from peer import Peer
                    peer = Peer(a.model, a.lr)
                achieved, accuracy = ours(a, speed, seed) if method == "metaprune" else theirs(peer, method, speed, seed, a.epochs)
                points.append({"method": method, "speed_up": speed, "seed": seed, "achieved": achieved, "accuracy": accuracy, "seconds": round(time.time() - start, 1)})
                with open(path, "a") as f: f.write(json.dumps(points[-1]) + "\n")
                print(points[-1], file=sys.stderr, flush=True)
    with open(a.out + ".md", "w") as f: f.write(table(a, points))
    print(table(a, points))


if __name__ == "__main__":
    main()
