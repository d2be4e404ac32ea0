#!/usr/bin/env python3
"""Exports networks of transformers, ultralytics, timm and torchvision with older operator sets by PyTorch's TorchScript exporter, as most files in the wild are: bench/opsets.py FOLDER [NAME...]. Needs torch, torchvision, timm, transformers and ultralytics.
Writes NAME.fixN.onnx (fixed sizes) and NAME.opN.onnx (free batch, and length where there is one) for the operator sets N of SETS; an export that fails, or that ONNX Runtime does not run, is said and left out."""
import os, sys

import timm, torch, torchvision
from families import settle
from hub import First, build, runs

timm.layers.set_fused_attn(False)
SETS = (9, 11, 13, 15)
HUB = ("bert", "albert", "electra", "distilbert", "deberta-v2", "gpt2", "opt", "t5", "bart", "vit", "swin", "convnext", "segformer", "resnet", "mobilevit", "wav2vec2", "yolov5n", "yolov8n", "yolov8n-seg", "yolo11n")
TIMM = {"convnext_atto": 224, "deit_tiny_patch16_224": 224, "efficientnet_b0": 224, "ghostnet_050": 224, "levit_128s": 224, "mixer_s32_224": 224, "mobilenetv3_small_050": 224, "pvt_v2_b0": 224, "res2net50_26w_4s": 224, "swin_tiny_patch4_window7_224": 224, "xcit_nano_12_p16_224": 224}
DENSE = {"deeplabv3_mobilenet_v3_large": 160, "fcn_resnet50": 160, "ssdlite320_mobilenet_v3_large": 320}
TORCHVISION = DENSE | {"shufflenet_v2_x0_5": 224, "googlenet": 224, "densenet121": 224}


def network(name):
    """The network by keywords, the names of its inputs, inputs for a batch, and further free dimensions."""
    if name in HUB:
        built = build(name)
        if hasattr(built[0], "set_attn_implementation"): built[0].set_attn_implementation("eager")  # below set 14 the exporter has no other
        return built
    side = TIMM.get(name) or TORCHVISION[name]
    if name in TIMM: model = timm.create_model(name, pretrained=False, exportable=True)
    else: model = torchvision.models.get_model(name, weights=None, **({"weights_backbone": None} if name in DENSE else {}))
    settle(model)
    return model, [], lambda n: (torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(1)),), {}


class Plain(torch.nn.Module):
    """A network of one input, with its first tensor as output; of a detector's, which takes a list of pictures, the boxes."""

    def __init__(self, model, detects):
        super().__init__()
        self.model, self.detects = model, detects

    def forward(self, x):
        out = self.model([x[0]] if self.detects else x)
        out = out[0] if isinstance(out, list) else out
        return next(iter(out.values())) if isinstance(out, dict) else out


def export(folder, name):
    torch.manual_seed(0)
    model, names, inputs, free = network(name)
    whole = First(model, names).eval() if names else Plain(model, name.startswith("ssd")).eval()
    names, x = names or ["input"], inputs(2)
    for opset in SETS:
        for kind, axes in (("fix", None), ("op", {n: {0: "batch", **free} for n in names})):
            path = os.path.join(folder, f"{name}.{kind}{opset}.onnx")
            if os.path.exists(path) or kind == "op" and name.startswith("ssd"): continue
            try:
                torch.onnx.export(whole, x, path + ".part", input_names=names, dynamo=False, opset_version=opset, dynamic_axes=axes)
                runs(path + ".part", names, x, axes and axes[names[0]])
                os.rename(path + ".part", path); print(path, flush=True)
            except Exception as e: print(f"{name}.{kind}{opset}: the exporter fails: {type(e).__name__}: {str(e)[:120]!r}", flush=True)


if __name__ == "__main__":
    for name in sys.argv[2:] or [*HUB, *TIMM, *TORCHVISION]: export(sys.argv[1], name)
