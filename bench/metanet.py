"""Forward pass of the paper's metanetwork: metaprune against PyTorch Geometric on the same graph and weights, side by side.

The PyTorch side is the architecture of arXiv 2506.12041 on torch_geometric's message passing; it is first checked against the numbers of the paper's own code where those are at hand (--fixtures DIR). Both are timed
without loading and saving; peak memory is the whole process', of PyTorch with its libraries.

    bench/metanet.py [--fixtures DIR] [--graphs resnet56,resnet50] [--runs 3]
"""
import argparse, json, os, resource, subprocess, sys, tempfile, time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import MultiAggregation

BIN = os.path.join(os.path.dirname(__file__), '..', 'bin', 'metaprune')
# A small process between, so that the child's peak memory is its own.
LAUNCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


class Messages(MessagePassing):
    """mean, std, max and min of z_target * a_source * e."""

    def __init__(self):
        super().__init__(aggr=MultiAggregation(['mean', 'std', 'max', 'min'], mode='cat'))

    def forward(self, index, z, a, e):
        return self.propagate(index, z=z, a=a, e=e)

    def message(self, z_i, a_j, e):
        return z_i * a_j * e


def linear(w, name, x):
    return F.linear(x, w[name + '.weight'], w[name + '.bias'])


def stack(w, name, x, norm=False):
    if norm:
        x = F.layer_norm(x, x.shape[-1:])
    steps = sorted({int(k[len(name) + 1:].split('.')[0]) for k in w if k.startswith(name + '.') and k[len(name) + 1].isdigit()})
    if not steps:
        return linear(w, name, x)
    for i, s in enumerate(steps):
        x = linear(w, f'{name}.{s}', x)
        if i < len(steps) - 1:
            x = F.silu(x)
    return x


def forward(w, node, index, edge, ratio):
    """index: row 0 output channels, row 1 input channels."""
    messages, inverter = Messages(), w['edgeInverter']
    h, e = stack(w, 'nodeEnc', node), stack(w, 'edgeEnc', edge)
    layers = 1 + max(int(k.split('.')[1]) for k in w if k.startswith('convs.'))
    for l in range(layers):
        x = F.layer_norm(h, h.shape[-1:])
        a, z, p, q = (F.silu(linear(w, f'convs.{l}.lin{k}.0', x)) for k in (1, 2, 3, 4))
        out, into = index
        down = lambda m: linear(w, f'convs.{l}.downlin', m)
        first = down(messages(index, z, a, e))
        second = down(messages(index.flip(0), z, a, e * inverter))
        e = e + p[out] * q[into] * e + p[into] * q[out] * e
        h = h + first + second
    return node + ratio * stack(w, 'nodeDec', h, True), edge + ratio * stack(w, 'edgeDec', e, True)


def random_weights(hidden, layers, node_in, edge_in, seed=0):
    g = np.random.default_rng(seed)
    w = {}

    def lin(name, i, o):
        w[name + '.weight'] = (g.standard_normal((o, i)) / i ** .5).astype(np.float32)
        w[name + '.bias'] = (0.1 * g.standard_normal(o)).astype(np.float32)
    lin('nodeEnc', node_in, hidden)
    lin('edgeEnc', edge_in, hidden)
    for name, out in (('nodeDec', node_in), ('edgeDec', edge_in)):
        lin(name + '.1', hidden, hidden)
        lin(name + '.3', hidden, out)
    for l in range(layers):
        for k in (1, 2, 3, 4):
            lin(f'convs.{l}.lin{k}.0', hidden, hidden)
        lin(f'convs.{l}.downlin', 4 * hidden, hidden)
    w['edgeInverter'] = np.where(np.arange(hidden) < hidden // 2, 1, -1).astype(np.float32)
    return w


def graph(layers, inputs, seed=0):
    """layers: (name, width, names of the layers that it reads)."""
    g = np.random.default_rng(seed)
    at, n, index = {'in': (0, inputs)}, inputs, []
    for name, width, reads in layers:
        for r in reads:
            first, size = at[r]
            rows = np.repeat(np.arange(n, n + width), size)
            index.append(np.stack([rows, np.tile(np.arange(first, first + size), width)]))
        at[name] = (n, width)
        n += width
    index = np.concatenate(index, 1).astype(np.int32)
    return {'node_in': g.standard_normal((n, 8)).astype(np.float32), 'edge_index': index, 'edge_in': (0.1 * g.standard_normal((index.shape[1], 9))).astype(np.float32)}


def resnet56():
    layers, prev = [('c', 16, ['in'])], 'c'
    for s, w in enumerate((16, 32, 64)):
        for b in range(9):
            layers += [(f'{s}.{b}a', w, [prev]), (f'{s}.{b}b', w, [f'{s}.{b}a', prev])]
            prev = f'{s}.{b}b'
    return graph(layers + [('fc', 10, [prev])], 3), random_weights(64, 8, 8, 9)


def resnet50():
    layers, prev = [('c', 64, ['in'])], 'c'
    for s, blocks in enumerate((3, 4, 6, 3)):
        w = 64 << s
        for b in range(blocks):
            n = f'{s}.{b}'
            layers += [(n + 'a', w, [prev]), (n + 'b', w, [n + 'a']), (n + 'c', 4 * w, [n + 'b'] + ([prev] if b == 0 else []))]
            prev = n + 'c'
    return graph(layers + [('fc', 1000, [prev])], 3), random_weights(16, 6, 8, 9)


def check_fixtures(folder):
    for name in ('tiny', 'resnet56'):
        load = lambda part: {k: torch.from_numpy(v) for k, v in load_file(f'{folder}/{name}_{part}.safetensors').items()}
        i, o, w = load('in'), load('out'), load('metanet')
        with torch.no_grad():
            node, edge = forward(w, i['node_in'], i['edge_index'].long(), i['edge_in'], 0.01)
        d = max((node - o['node_out']).abs().max().item(), (edge - o['edge_out']).abs().max().item()) / 0.01
        print(f'{name}: this PyTorch side differs from the paper\'s code by {d:.1g} in the residuals')
        assert d < 1e-4


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--fixtures')
    p.add_argument('--graphs', default='resnet56,resnet50')
    p.add_argument('--runs', type=int, default=3)
    a = p.parse_args()
    if a.fixtures:
        check_fixtures(a.fixtures)
    print('| graph | nodes | edges | PyTorch, s | MB | metaprune, s | MB | faster | residuals differ by |\n|---|---|---|---|---|---|---|---|---|')
    for name in a.graphs.split(','):
        g, w = {'resnet56': resnet56, 'resnet50': resnet50}[name]()
        with tempfile.TemporaryDirectory() as d:
            save_file(g, d + '/g.safetensors')
            save_file(w, d + '/w.safetensors')
            ours, mine = [], 0
            for _ in range(a.runs):
                out = subprocess.run([sys.executable, '-c', LAUNCH, BIN, 'metanet', 'forward', d + '/g.safetensors', '--metanet', d + '/w.safetensors', '-o', d + '/o.safetensors', '--json'], check=True, capture_output=True)
                *answer, kb = out.stdout.decode().splitlines()
                ours.append(json.loads('\n'.join(answer))['seconds'])
                mine = max(mine, float(kb) / 1024)
            got = load_file(d + '/o.safetensors')
        tw = {k: torch.from_numpy(v) for k, v in w.items()}
        node, index, edge = torch.from_numpy(g['node_in']), torch.from_numpy(g['edge_index']).long(), torch.from_numpy(g['edge_in'])
        theirs = []
        for _ in range(a.runs if edge.shape[0] < 10 ** 6 else 1):
            with torch.no_grad():
                t = time.time()
                n, e = forward(tw, node, index, edge, 0.01)
                theirs.append(time.time() - t)
        diff = max(np.abs(n.numpy() - got['node_out']).max(), np.abs(e.numpy() - got['edge_out']).max()) / 0.01
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f'| {name} | {node.shape[0]:,} | {edge.shape[0]:,} | {min(theirs):.2f} | {rss:.0f} | {min(ours):.2f} | {mine:.0f} | {min(theirs) / min(ours):.1f}x | {diff:.1g} |', flush=True)


if __name__ == '__main__':
    sys.exit(main())
