#!/usr/bin/env python3
"""The peer of calibrated.py: a torchvision network pruned to 2x by Torch-Pruning (L2, global) and refitted in one pass over samples, in PyTorch.

    bench/refit.py NETWORK SAMPLES.npz      # prints JSON: speed_up, and the mean cosine of the outputs with the dense network's before and after the refit

For each Conv and Linear that reads pruned channels, the Gram matrix G of its input channels is taken from the dense network on four fifths of the samples; its weights
become W G[:,S] (G[S,S] + ridge I)^-1, S being the channels that are kept. The last fifth judges.
"""
import copy, json, sys

import numpy as np, torch, torch_pruning as tp, torchvision

RIDGE, BATCH = 1e-2, 10


def network(name):
    """A network with random weights; none of its matrices is zero, as ViT's last one is at first."""
    torch.manual_seed(0)
    m = getattr(torchvision.models, name)(weights=None).eval()
    for p in m.parameters():
        if p.ndim > 1 and not p.any(): torch.nn.init.normal_(p, std=.02)
    return m


def gram_hooks(model):
    """Gram matrices of what every Conv and Linear reads, by module, filled while the model runs."""
    grams, handles = {}, []
    def hook(m, inputs):
        x = inputs[0].detach()
        x = x.transpose(0, 1).reshape(x.shape[1], -1) if isinstance(m, torch.nn.Conv2d) else x.reshape(-1, x.shape[-1]).T
        grams[m] = grams.get(m, 0) + x @ x.T
    for m in model.modules():
        if isinstance(m, torch.nn.Linear) or isinstance(m, torch.nn.Conv2d) and m.groups == 1: handles.append(m.register_forward_pre_hook(hook))
    return grams, handles


def prune(model, example, ratio):
    """Prunes in place; returns the kept input channels and the kept output channels of each layer, by module."""
    inputs, outputs = {}, {}
    last = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == 1000]
    heads = {m: m.num_heads for m in model.modules() if isinstance(m, torch.nn.MultiheadAttention)}
    p = tp.pruner.BasePruner(model, example, importance=tp.importance.GroupMagnitudeImportance(p=2), global_pruning=True, pruning_ratio=ratio, ignored_layers=last, num_heads=heads)
    for group in p.step(interactive=True):
        for dep, idxs in group:
            m = dep.target.module
            if dep.handler in (tp.prune_conv_in_channels, tp.prune_linear_in_channels): drop(inputs, m, m.weight.shape[1], idxs)
            if dep.handler in (tp.prune_conv_out_channels, tp.prune_linear_out_channels): drop(outputs, m, m.weight.shape[0], idxs)
        group.prune()
    return inputs, outputs


def drop(kept, m, width, idxs):
    """Takes channels, numbered as they are now, off the kept ones of a layer."""
    gone = set(idxs)
    kept[m] = [c for i, c in enumerate(kept.get(m, range(width))) if i not in gone]


def refit(dense, small, inputs, outputs, grams):
    names = {m: n for n, m in small.named_modules()}
    for m, s in inputs.items():
        d = dense.get_submodule(names[m])
        if d not in grams: continue
        g = grams[d].double(); a = g[s][:, s]
        a += RIDGE * a.diagonal().mean() * torch.eye(len(s), dtype=a.dtype)
        back = torch.linalg.solve(a, g[s]).T.float()  # [all inputs, kept inputs]
        w = d.weight.detach()[outputs[m]] if m in outputs else d.weight.detach()
        m.weight.data = torch.einsum("oi...,ik->ok...", w, back)


def run(model, x):
    with torch.no_grad(): return torch.cat([model(b) for b in x.split(BATCH)])


def main():
    dense = network(sys.argv[1])
    x = torch.from_numpy(next(iter(np.load(sys.argv[2]).values())))
    fit, held = x[:len(x) - len(x) // 5], x[len(x) - len(x) // 5:]
    macs = tp.utils.count_ops_and_params(dense, x[:1])[0]
    low, high = 0., .9
    for _ in range(7):  # the ratio that gives 2x
        ratio = (low + high) / 2; small = copy.deepcopy(dense)
        prune(small, x[:1], ratio)
        low, high = (ratio, high) if macs / tp.utils.count_ops_and_params(small, x[:1])[0] < 2 else (low, ratio)
    small = copy.deepcopy(dense)
    inputs, outputs = prune(small, x[:1], high)
    grams, handles = gram_hooks(dense)
    run(dense, fit)
    for h in handles: h.remove()
    want, before = run(dense, held), run(small, held)
    refit(dense, small, inputs, outputs, grams)
    after = run(small, held)
    cosine = lambda y: torch.nn.functional.cosine_similarity(want, y).mean().item()
    print(json.dumps({"speed_up": macs / tp.utils.count_ops_and_params(small, x[:1])[0], "before": cosine(before), "after": cosine(after)}))


if __name__ == "__main__":
    main()
