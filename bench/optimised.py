#!/usr/bin/env python3
"""Writes what tools make of exported models: small transformers at opsets 18 to 24 (ONNX's own Attention from 23 on), graphs fused by onnxruntime.transformers, models quantised by onnxruntime.quantization,
and what ONNX Runtime saves of a model that it has optimised.

    bench/optimised.py EXPORTS FOLDER

EXPORTS holds mlp.ts.onnx, resnet18.ts.onnx and others; what is not there is left out. Needs torch, onnx and onnxruntime."""
import logging, os, sys, warnings

import numpy as np, onnx, onnxruntime as ort, torch, torch.nn as nn, torch.nn.functional as F
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

warnings.filterwarnings("ignore"); logging.disable(logging.WARNING); torch.manual_seed(0)
EXPORTS, OUT = sys.argv[1:3]


class Attention(nn.Module):
    """Grouped-query attention with rotary embeddings."""
    def __init__(self, width, heads, kv):
        super().__init__()
        self.heads, self.kv, self.dim = heads, kv, width // heads
        self.q, self.k, self.v, self.o = (nn.Linear(a, b, bias=False) for a, b in ((width, width), (width, kv * self.dim), (width, kv * self.dim), (width, width)))
        angle = torch.outer(torch.arange(64).float(), 1 / 10000 ** (torch.arange(0, self.dim, 2) / self.dim))
        self.register_buffer("cos", angle.cos()); self.register_buffer("sin", angle.sin())

    def rotate(self, x):
        cos, sin = self.cos[: x.shape[2]], self.sin[: x.shape[2]]
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def forward(self, x):
        n, length, width = x.shape
        q, k, v = (p(x).view(n, length, h, self.dim).transpose(1, 2) for p, h in ((self.q, self.heads), (self.k, self.kv), (self.v, self.kv)))
        y = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True, enable_gqa=self.heads != self.kv)
        return self.o(y.transpose(1, 2).reshape(n, length, width))


class Block(nn.Module):
    def __init__(self, width, heads, kv, norm):
        super().__init__()
        self.a, self.n1, self.n2 = Attention(width, heads, kv), norm(width), norm(width)
        self.gate, self.up, self.down = nn.Linear(width, 160, bias=False), nn.Linear(width, 160, bias=False), nn.Linear(160, width, bias=False)

    def forward(self, x):
        x = x + self.a(self.n1(x)); y = self.n2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    def __init__(self, heads=4, kv=4, norm=nn.RMSNorm):
        super().__init__()
        self.e, self.blocks, self.n, self.o = nn.Embedding(100, 64), nn.Sequential(*[Block(64, heads, kv, norm) for _ in range(2)]), norm(64), nn.Linear(64, 100)

    def forward(self, x): return self.o(self.n(self.blocks(self.e(x))))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, activation="gelu")
        self.e, self.t, self.o = nn.Embedding(100, 64), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(64, 10)

    def forward(self, x): return self.o(self.t(self.e(x)).mean(1))


class Random(CalibrationDataReader):
    def __init__(self, path):
        rng, self.left = np.random.default_rng(0), []
        inputs = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()
        for _ in range(2):
            shapes = {i.name: ([d if isinstance(d, int) and d > 0 else 1 for d in i.shape], "float" in i.type) for i in inputs}
            self.left.append({k: rng.standard_normal(s).astype(np.float32) if f else rng.integers(0, 2, s).astype(np.int64) for k, (s, f) in shapes.items()})

    def get_next(self): return self.left.pop() if self.left else None


def attempt(name, make):
    try: make(os.path.join(OUT, name + ".onnx")); print(name, flush=True)
    except Exception as e: print(f"{name}: left out: {type(e).__name__}: {str(e)[:100]!r}", flush=True)


def transformers():
    for name, model in {"decoder": Decoder(), "grouped": Decoder(8, 2), "layernorm": Decoder(norm=nn.LayerNorm), "encoder": Encoder()}.items():
        for opset in (18, 23, 24):
            for dynamic in (False, True):
                options = dict(dynamic_shapes=({0: torch.export.Dim("batch")},)) if dynamic else {}
                attempt(f"{name}.opset{opset}" + (".dynb" if dynamic else ""), lambda path: torch.onnx.export(model.eval(), (torch.randint(0, 100, (2, 16)),), path, dynamo=True, opset_version=opset, verbose=False, external_data=False, **options))


def fused():
    sources = {"encoder": (f"{OUT}/encoder.opset18.onnx", "bert", 4, 64), "decoder": (f"{OUT}/decoder.opset18.onnx", "gpt2", 4, 64), "mha_encoder": (f"{EXPORTS}/mha_encoder.ts.onnx", "bert", 4, 128),
               "gpt2_small": (f"{EXPORTS}/gpt2_small.ts.onnx", "gpt2", 4, 128), "vit_b_16": (f"{EXPORTS}/vit_b_16.ts.onnx", "vit", 12, 768)}
    for name, (path, kind, heads, width) in sources.items():
        attempt(name + ".fused", lambda out: optimizer.optimize_model(path, model_type=kind, num_heads=heads, hidden_size=width, optimization_options=FusionOptions(kind), opt_level=0).save_model_to_file(out))


def quantised():
    static = {"qdq": (QuantFormat.QDQ, True, QuantType.QUInt8), "qdq8": (QuantFormat.QDQ, False, QuantType.QInt8), "qop": (QuantFormat.QOperator, True, QuantType.QUInt8)}
    for name in ("mlp", "mlp_bn", "resnet18", "mobilenet_v2", "squeezenet1_1", "unet", "mha_encoder", "lstm_uni1"):
        path = f"{EXPORTS}/{name}.ts.onnx"
        for tag, (form, channels, kind) in static.items():
            attempt(f"{name}.{tag}", lambda out: quantize_static(path, out, Random(path), quant_format=form, per_channel=channels, activation_type=kind, weight_type=QuantType.QInt8))
        attempt(f"{name}.dynamic", lambda out: quantize_dynamic(path, out, weight_type=QuantType.QInt8))


def saved():
    """What ONNX Runtime itself makes of a model, as a session saves it."""
    for name in ("mlp", "mlp_bn", "resnet18", "mobilenet_v2", "densenet121", "squeezenet1_1", "unet", "vit_b_16", "mha_encoder", "gpt2_small"):
        def make(path):
            options = ort.SessionOptions(); options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED; options.optimized_model_filepath = path
            ort.InferenceSession(f"{EXPORTS}/{name}.ts.onnx", options)
        attempt(name + ".ort", make)


os.makedirs(OUT, exist_ok=True)
transformers(); fused(); quantised(); saved()
