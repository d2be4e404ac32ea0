#!/usr/bin/env python3
"""Exports families of networks that are not in the first table, with random weights and a fixed seed, by both of PyTorch's exporters: bench/families.py FOLDER [NAME...]. Needs torch, torchvision and timm.
Writes NAME.ts.onnx (TorchScript, BatchNormalization folded), NAME.tsbn.onnx (kept), NAME.dy.onnx (dynamo)."""
import os, sys, warnings

import torch, timm

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
FAMILIES = {  # name in timm: side of the picture
    "convnext_atto": 224, "efficientnet_b0": 224, "regnetx_002": 224, "mixer_s32_224": 224, "repvgg_a0": 224, "res2net50_26w_4s": 224, "dla34": 224, "ghostnet_050": 224,
    "mobilevit_xxs": 256, "edgenext_xx_small": 256, "poolformer_s12": 224, "deit_tiny_patch16_224": 224, "swin_tiny_patch4_window7_224": 224, "maxvit_rmlp_pico_rw_256": 256, "levit_128s": 224, "hrnet_w18_small": 224,
    "inception_v3": 299, "xcit_nano_12_p16_224": 224, "pvt_v2_b0": 224, "fastvit_t8": 256, "mobilenetv4_conv_small": 224, "skresnet18": 224, "nf_resnet26": 224, "vovnet39a": 224,
}


def settle(model):
    """Running statistics and scales as training leaves them, not ones and zeros, so that folding matters."""
    g = torch.Generator().manual_seed(1)
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            for t, low, high in ((m.running_var, 0.75, 1.25), (m.weight.data, 0.75, 1.25), (m.running_mean, -0.1, 0.1), (m.bias.data, -0.1, 0.1)):
                t.copy_(torch.rand(t.shape, generator=g) * (high - low) + low)


def export(folder, name, side):
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, exportable=True).eval(); settle(model)
    x = torch.randn(1, 3, side, side)
    keep = dict(training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    for variant, options in (("ts", dict(dynamo=False, opset_version=17)), ("tsbn", dict(dynamo=False, opset_version=17, **keep)), ("dy", dict(dynamo=True, external_data=False, verbose=False))):
        path = os.path.join(folder, f"{name}.{variant}.onnx")
        if os.path.exists(path): continue
        try: torch.onnx.export(model, (x,), path + ".part", input_names=["input"], **options); os.rename(path + ".part", path); print(path, flush=True)
        except Exception as e: print(f"{name}.{variant}: the exporter fails: {type(e).__name__}: {str(e)[:120]!r}", flush=True)


for name, side in FAMILIES.items():
    if len(sys.argv) < 3 or name in sys.argv[2:]: export(sys.argv[1], name, side)
