"""Torch-Pruning on a classifier of Fashion-MNIST that is a file: the network as PyTorch has it (onnx2torch), and the data, sparse training, cut and finetuning, as `metaprune finetune` describes them."""
import copy, gzip, os

import numpy as np, onnx, torch, torch_pruning as tp
from onnx2torch import convert

FASHION = "/usr/share/datasets/fashion-mnist"
MEAN, STD = .2860, .3530


def network(path):
    """The file's network with its weights; the exporter keeps equal tensors once, behind Identity, which is undone."""
    model = onnx.load(path)
    weights = {t.name: t for t in model.graph.initializer}
    for n in [n for n in model.graph.node if n.op_type == "Identity" and n.input[0] in weights]:
        own = onnx.TensorProto(); own.CopyFrom(weights[n.input[0]]); own.name = n.output[0]
        model.graph.initializer.append(own); model.graph.node.remove(n)
    return convert(model).to(memory_format=torch.channels_last)


def read(name):
    images = np.frombuffer(gzip.open(f"{FASHION}/{name}-images-idx3-ubyte.gz").read(), np.uint8)[16:].reshape(-1, 1, 28, 28).astype(np.float32)
    labels = np.frombuffer(gzip.open(f"{FASHION}/{name}-labels-idx1-ubyte.gz").read(), np.uint8)[8:].astype(np.int64)
    return (torch.from_numpy(images) / 255 - MEAN) / STD, torch.from_numpy(labels)


def channels_last(x): return x.contiguous(memory_format=torch.channels_last)


class Peer:
    def __init__(self, path, lr=.02):
        torch.set_num_threads(os.cpu_count())
        self.path, self.lr, self.train, self.test, self.sparse = path, lr, read("train"), read("t10k"), {}
        self.example = torch.randn(1, 1, 28, 28)

    def accuracy(self, m):
        x, y = self.test; m.eval()
        with torch.no_grad(): right = sum((m(channels_last(x[i:i + 500])).argmax(1) == y[i:i + 500]).sum().item() for i in range(0, len(x), 500))
        return right / len(x)

    def augmented(self, x):
        """Every other image mirrored, each moved by up to 2 pixels."""
        n = len(x)
        x = torch.where(torch.rand(n, 1, 1, 1) < .5, x.flip(3), x)
        x = torch.nn.functional.pad(x, (2, 2, 2, 2), value=-MEAN / STD)
        rows, cols = torch.randint(0, 5, (n, 1, 1)) + torch.arange(28).view(1, 28, 1), torch.randint(0, 5, (n, 1, 1)) + torch.arange(28).view(1, 1, 28)
        return x[torch.arange(n).view(n, 1, 1), 0, rows, cols].unsqueeze(1)

    def fit(self, m, images, epochs, pruner=None):
        """Finetunes on so many images, drawn by the seed, or with a pruner trains for sparsity at a rate of 0.01; a twelfth of the images is left out, as where one would validate."""
        x, y = self.train
        kept = torch.randperm(len(x))[:images - images // 12]; steps = epochs * (len(kept) // 128)
        o = torch.optim.SGD(m.parameters(), self.lr if pruner is None else .01, .9, weight_decay=5e-4, nesterov=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(o, self.lr, total_steps=steps) if pruner is None else None
        for _ in range(epochs):
            m.train(); order = kept[torch.randperm(len(kept))]
            if pruner is not None: pruner.update_regularizer()
            for i in range(0, len(order) - 127, 128):
                at = order[i:i + 128]
                loss = torch.nn.functional.cross_entropy(m(channels_last(self.augmented(x[at]))), y[at])
                o.zero_grad(); loss.backward()
                if pruner is not None: pruner.regularize(m)
                o.step()
                if schedule is not None: schedule.step()
        return m

    def settle(self, m, images):
        """BatchNorm's statistics anew, on so many training images."""
        norms = [k for k in m.modules() if isinstance(k, torch.nn.modules.batchnorm._BatchNorm)]
        for k in norms: k.reset_running_stats(); k.momentum = None
        m.train()
        with torch.no_grad(): m(channels_last(self.train[0][torch.randperm(len(self.train[0]))[:images]]))
        return m

    def pruner(self, m, grouped):
        last = [k for k in m.modules() if isinstance(k, torch.nn.Linear)][-1]
        rest = dict(global_pruning=True, pruning_ratio=1.0, iterative_steps=400, ignored_layers=[last])
        if grouped: return tp.pruner.GroupNormPruner(m, self.example, tp.importance.GroupMagnitudeImportance(p=2, normalizer="max"), reg=5e-4, **rest)
        return tp.pruner.MagnitudePruner(m, self.example, tp.importance.GroupMagnitudeImportance(p=2), **rest)

    def cut(self, m, pruner, speed):
        base = now = tp.utils.count_ops_and_params(m, self.example)[0]
        while base / now < speed:
            pruner.step(); now = tp.utils.count_ops_and_params(m, self.example)[0]
        return base / now

    def pruned(self, method, speed, seed, images=60000, epochs=0):
        """The network cut by `magnitude`, or by `groupnorm` after so many epochs of sparse training, which are the same for every speed-up; and the speed-up."""
        torch.manual_seed(seed); m = network(self.path); pruner = self.pruner(m, method == "groupnorm")
        if method == "groupnorm":
            key = seed, images, epochs
            if key not in self.sparse: self.sparse[key] = copy.deepcopy(self.fit(m, images, epochs, pruner).state_dict())
            m.load_state_dict(self.sparse[key])
        return m, self.cut(m, pruner, speed)
