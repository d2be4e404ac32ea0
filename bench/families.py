#!/usr/bin/env python3
"""Exports families of networks that are not in the first table, with random weights and a fixed seed, by both of PyTorch's exporters: bench/families.py FOLDER [NAME...]. Needs torch, torchvision and timm.
Writes NAME.ts.onnx (TorchScript, BatchNormalization folded), NAME.tsbn.onnx (kept), NAME.dy.onnx (dynamo).

    bench/families.py FOLDER --wide [NAME...]

takes a model of nearly every module of timm instead, and writes also NAME.tsb.onnx and NAME.dyb.onnx (any batch) and NAME.tshw.onnx (any batch, height and width)."""
import json, os, sys, warnings

import torch, timm

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
FAMILIES = {  # name in timm: side of the picture
    "convnext_atto": 224, "efficientnet_b0": 224, "regnetx_002": 224, "mixer_s32_224": 224, "repvgg_a0": 224, "res2net50_26w_4s": 224, "dla34": 224, "ghostnet_050": 224,
    "mobilevit_xxs": 256, "edgenext_xx_small": 256, "poolformer_s12": 224, "deit_tiny_patch16_224": 224, "swin_tiny_patch4_window7_224": 224, "maxvit_rmlp_pico_rw_256": 256, "levit_128s": 224, "hrnet_w18_small": 224,
    "inception_v3": 299, "xcit_nano_12_p16_224": 224, "pvt_v2_b0": 224, "fastvit_t8": 256, "mobilenetv4_conv_small": 224, "skresnet18": 224, "nf_resnet26": 224, "vovnet39a": 224,
}

WIDE = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "wide.json")))  # side of the picture: names in timm


def settle(model):
    """Running statistics and scales as training leaves them, not ones and zeros, so that folding matters."""
    g = torch.Generator().manual_seed(1)
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            for t, low, high in ((m.running_var, 0.75, 1.25), (m.weight.data, 0.75, 1.25), (m.running_mean, -0.1, 0.1), (m.bias.data, -0.1, 0.1)):
                t.copy_(torch.rand(t.shape, generator=g) * (high - low) + low)


TS, DYNAMO = dict(dynamo=False, opset_version=17), dict(dynamo=True, external_data=False, verbose=False)
FIXED = {"ts": TS, "tsbn": TS | dict(training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False), "dy": DYNAMO}
FREE = {"ts": TS, "dy": DYNAMO, "tsb": TS | dict(dynamic_axes={"input": {0: "batch"}}), "tshw": TS | dict(dynamic_axes={"input": {0: "batch", 2: "h", 3: "w"}}),
        "dyb": DYNAMO | dict(dynamic_shapes=({0: torch.export.Dim("batch")},))}


def export(folder, name, side, variants):
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, exportable=True).eval(); settle(model)
    for variant, options in variants.items():
        x = torch.randn(2 if "dynamic_shapes" in options or "dynamic_axes" in options else 1, 3, side, side)
        path = os.path.join(folder, f"{name}.{variant}.onnx")
        if os.path.exists(path): continue
        try: torch.onnx.export(model, (x,), path + ".part", input_names=["input"], **options); os.rename(path + ".part", path); print(path, flush=True)
        except Exception as e: print(f"{name}.{variant}: the exporter fails: {type(e).__name__}: {str(e)[:120]!r}", flush=True)


if __name__ == "__main__":
    wide = "--wide" in sys.argv
    names = [a for a in sys.argv[2:] if a != "--wide"]
    chosen = {n: int(side) for side, names_ in WIDE.items() for n in names_} if wide else FAMILIES
    for name, side in chosen.items():
        if not names or name in names: export(sys.argv[1], name, side, FREE if wide else FIXED)
