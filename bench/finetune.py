#!/usr/bin/env python3
"""Pruned and finetuned against Torch-Pruning on the same exported network: same data, number of epochs, optimizer, schedule and augmentation. Resumable: points that OUT.jsonl has are not measured again.

    bench/finetune.py MODEL OUT [--speed-ups 2,4] [--seeds 0,1,2] [--epochs 4] [--backend xla:cpu] [--methods metaprune,magnitude,groupnorm]

MODEL is the ResNet-20 that `metaprune new resnet20` or testdata/fashion-resnet20.onnx names its parameters like; Torch-Pruning gets it with the weights of that file. `metaprune` is group L2 with repair on 100
unlabelled images, then EPOCHS of finetuning; `magnitude` is GroupMagnitudeImportance, then EPOCHS of finetuning; `groupnorm` is GroupNormPruner's sparse training for half of EPOCHS (which metaprune does without),
then finetuning for the other half; `groupnorm-long` has EPOCHS of each, twice what the others have. Writes OUT.jsonl and OUT.md."""
import argparse, gzip, json, os, statistics, subprocess, sys, tempfile, time

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


class Theirs:
    """The PyTorch side: the network with the file's weights, the data and the training that finetune describes."""

    def __init__(self, a):
        import numpy as np, onnx, torch
        from onnx import numpy_helper
        torch.set_num_threads(os.cpu_count())
        self.a, self.torch = a, torch
        graph = onnx.load(a.model).graph
        self.weights = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
        for n in graph.node: # the exporter keeps equal tensors once
            if n.op_type == "Identity" and n.input[0] in self.weights: self.weights[n.output[0]] = self.weights[n.input[0]].clone()
        def images(name): return (torch.from_numpy(np.frombuffer(gzip.open(f"{FASHION}/{name}-images-idx3-ubyte.gz").read(), np.uint8)[16:].reshape(-1, 1, 28, 28).astype(np.float32)) / 255 - .2860) / .3530
        def labels(name): return torch.from_numpy(np.frombuffer(gzip.open(f"{FASHION}/{name}-labels-idx1-ubyte.gz").read(), np.uint8)[8:].astype(np.int64))
        self.train, self.test = (images("train"), labels("train")), (images("t10k"), labels("t10k"))
        self.sparse = {}

    def network(self):
        import torch.nn as nn, torch.nn.functional as F
        class Block(nn.Module):
            def __init__(self, i, o, stride):
                super().__init__()
                self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
                self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
                self.shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o)) if stride != 1 or i != o else nn.Identity()
            def forward(self, x): return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))
        class ResNet20(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv1, self.bn1, blocks, i = nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), [], 16
                for width, stride in ((16, 1), (32, 2), (64, 2)):
                    for k in range(3): blocks.append(Block(i, width, stride if k == 0 else 1)); i = width
                self.layers, self.fc = nn.Sequential(*blocks), nn.Linear(64, 10)
            def forward(self, x): return self.fc(F.adaptive_avg_pool2d(self.layers(F.relu(self.bn1(self.conv1(x)))), 1).flatten(1))
        m = ResNet20()
        missing, extra = m.load_state_dict(self.weights, strict=False)
        if [k for k in missing if "num_batches" not in k] or extra: raise SystemExit(f"weights that fit nowhere: {missing} {extra}")
        return m

    def accuracy(self, m):
        x, y = self.test; m.eval(); right = 0
        with self.torch.no_grad():
            for i in range(0, len(x), 500): right += (m(x[i:i + 500].contiguous(memory_format=self.torch.channels_last)).argmax(1) == y[i:i + 500]).sum().item()
        return right / len(x)

    def augmented(self, x):
        """Every other image mirrored, each moved by up to 2 pixels."""
        torch = self.torch; n = len(x)
        x = torch.where(torch.rand(n, 1, 1, 1) < .5, x.flip(3), x)
        x = torch.nn.functional.pad(x, (2, 2, 2, 2), value=-.2860 / .3530)
        rows, cols = torch.randint(0, 5, (n, 1, 1)) + torch.arange(28).view(1, 28, 1), torch.randint(0, 5, (n, 1, 1)) + torch.arange(28).view(1, 1, 28)
        return x[torch.arange(n).view(n, 1, 1), 0, rows, cols].unsqueeze(1)

    def fit(self, m, epochs, pruner=None):
        torch = self.torch; m.to(memory_format=torch.channels_last); x, y = self.train
        kept = torch.randperm(len(x))[:55000]; steps = epochs * (len(kept) // 128)
        o = torch.optim.SGD(m.parameters(), self.a.lr if pruner is None else .01, .9, weight_decay=5e-4, nesterov=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(o, self.a.lr, total_steps=steps) if pruner is None else None
        for _ in range(epochs):
            m.train(); order = kept[torch.randperm(len(kept))]
            if pruner is not None: pruner.update_regularizer()
            for i in range(0, len(order) - 127, 128):
                at = order[i:i + 128]
                loss = torch.nn.functional.cross_entropy(m(self.augmented(x[at]).contiguous(memory_format=torch.channels_last)), y[at])
                o.zero_grad(); loss.backward()
                if pruner is not None: pruner.regularize(m)
                o.step()
                if schedule is not None: schedule.step()
        return m

    def pruner(self, m, grouped):
        import torch_pruning as tp
        example = self.torch.randn(1, 1, 28, 28)
        if grouped: return tp.pruner.GroupNormPruner(m, example, tp.importance.GroupMagnitudeImportance(p=2, normalizer="max"), reg=5e-4, global_pruning=True, pruning_ratio=1.0, iterative_steps=400, ignored_layers=[m.fc])
        return tp.pruner.MagnitudePruner(m, example, tp.importance.GroupMagnitudeImportance(p=2), global_pruning=True, pruning_ratio=1.0, iterative_steps=400, ignored_layers=[m.fc])

    def cut(self, m, pruner, speed):
        import torch_pruning as tp
        example = self.torch.randn(1, 1, 28, 28); base = now = tp.utils.count_ops_and_params(m, example)[0]
        while base / now < speed:
            pruner.step(); now = tp.utils.count_ops_and_params(m, example)[0]
        return base / now

    def measure(self, method, speed, seed):
        import copy
        self.torch.manual_seed(seed); epochs = self.a.epochs
        m = self.network(); pruner = self.pruner(m, method != "magnitude")
        if method != "magnitude":
            first = epochs if method == "groupnorm-long" else epochs // 2
            if (method, seed) not in self.sparse: self.sparse[method, seed] = copy.deepcopy(self.fit(m, first, pruner).state_dict())
            m.load_state_dict(self.sparse[method, seed])
            if method == "groupnorm": epochs -= first
        achieved = self.cut(m, pruner, speed)
        return achieved, self.accuracy(self.fit(m, epochs))


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
    theirs = Theirs(a)
    for method in a.methods.split(","):
        for seed in map(int, a.seeds.split(",")):
            for speed in map(float, a.speed_ups.split(",")):
                if (method, speed, seed) in done: continue
                start = time.time()
                achieved, accuracy = ours(a, speed, seed) if method == "metaprune" else theirs.measure(method, speed, seed)
                points.append({"method": method, "speed_up": speed, "seed": seed, "achieved": achieved, "accuracy": accuracy, "seconds": round(time.time() - start, 1)})
                with open(path, "a") as f: f.write(json.dumps(points[-1]) + "\n")
                print(points[-1], file=sys.stderr, flush=True)
    with open(a.out + ".md", "w") as f: f.write(table(a, points))
    print(table(a, points))


if __name__ == "__main__":
    main()
