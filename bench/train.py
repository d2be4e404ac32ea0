#!/usr/bin/env python3
"""Images a second of training against PyTorch (channels last) on the same network, batch, optimizer and number of threads, in turns.

    bench/train.py [--rounds 3] [--images 12800] [--batch 128] [--backend xla:cpu]

The network is ResNet-20 for 1x28x28 as `metaprune new resnet20` makes it, the data Debian's dataset-fashion-mnist. The first pass of either side, which compiles and warms up, is left out.
"""
import argparse, gzip, json, os, statistics, subprocess, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
METAPRUNE = os.path.join(HERE, "..", "bin", "metaprune")
FASHION = "/usr/share/datasets/fashion-mnist"


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3); p.add_argument("--images", type=int, default=12800)
    p.add_argument("--batch", type=int, default=128); p.add_argument("--backend", default="xla:cpu")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    return p.parse_args()


def ours(a, folder, k):
    model = f"{folder}/resnet20.onnx"
    if not os.path.exists(model):
        subprocess.run([METAPRUNE, "new", "resnet20", "--input", "1x28x28", "--classes", "10", "-o", model, "-q"], check=True)
    run = f"{folder}/run{k}"
    subprocess.run([METAPRUNE, "train", model, "--data", f"fashion-mnist:{FASHION}", "--epochs", "2", "--limit", str(a.images), "--validation", "0", "--batch", str(a.batch), "--backend", a.backend,
                    "-o", f"{folder}/out{k}.onnx", "--run", run, "-q"], check=True)
    return [json.loads(line) for line in open(f"{run}/metrics.jsonl")][-1]["images_per_second"]


def resnet20():
    import torch.nn as nn, torch.nn.functional as F

    class Block(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
            self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
            self.short = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o)) if stride != 1 or i != o else nn.Identity()

        def forward(self, x):
            return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.short(x))

    blocks, i = [], 16
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        for k in range(3):
            blocks.append(Block(i, width, stride if k == 0 else 1)); i = width
    return nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def theirs(a):
    import numpy as np, torch, torch.nn.functional as F
    torch.set_num_threads(a.threads)
    raw = np.frombuffer(gzip.open(f"{FASHION}/train-images-idx3-ubyte.gz").read(), np.uint8)[16:].reshape(-1, 1, 28, 28)[:a.images]
    y = torch.from_numpy(np.frombuffer(gzip.open(f"{FASHION}/train-labels-idx1-ubyte.gz").read(), np.uint8)[8:][:a.images].astype(np.int64))
    x = torch.from_numpy(raw.astype(np.float32)) / 255
    m = resnet20().to(memory_format=torch.channels_last).train()
    o = torch.optim.SGD(m.parameters(), .1, .9, weight_decay=5e-4, nesterov=True)
    for _ in range(2):
        start, order = time.time(), torch.randperm(len(x))
        for i in range(0, len(x) - a.batch + 1, a.batch):
            at = order[i:i + a.batch]
            loss = F.cross_entropy(m(x[at].contiguous(memory_format=torch.channels_last)), y[at])
            o.zero_grad(); loss.backward(); o.step()
    return len(x) / (time.time() - start), sum(p.numel() for p in m.parameters())


def main():
    a = arguments()
    mine, other = [], []
    print("| round | metaprune, " + a.backend + " | PyTorch | ratio |\n|---|---|---|---|")
    row = lambda name, x, y: print(f"| {name} | {x:.0f} | {y:.0f} | {x / y:.2f} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for k in range(a.rounds):
            mine.append(ours(a, folder, k))
            speed, parameters = theirs(a)
            other.append(speed)
            row(k + 1, mine[-1], speed)
    row("median", statistics.median(mine), statistics.median(other))
    print(f"{parameters} parameters, batch {a.batch}, {a.threads} threads")


if __name__ == "__main__":
    main()
