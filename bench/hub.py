#!/usr/bin/env python3
"""Exports small networks of Hugging Face's transformers and of ultralytics, with random weights and a fixed seed, by both of PyTorch's exporters: bench/hub.py FOLDER [NAME...]. Needs torch, transformers and ultralytics.
Writes NAME.ts.onnx (TorchScript, free batch and length), NAME.dy.onnx (dynamo, fixed sizes) and NAME.dyb.onnx (dynamo, free batch); an export that fails, or that ONNX Runtime does not run, is said and left out."""
import os, sys, warnings

os.environ.update(TRANSFORMERS_VERBOSITY="error", YOLO_VERBOSE="False")
import numpy, onnxruntime, torch
from transformers import AutoConfig, AutoModel

warnings.filterwarnings("ignore")
torch.set_num_threads(1)

WIDE = dict(hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256)
GROUPED = WIDE | dict(num_key_value_heads=2, vocab_size=400, pad_token_id=0)
BART = dict(d_model=128, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=256, decoder_ffn_dim=256, vocab_size=400)
TEXT = {  # model type: options of its configuration
    **{n: WIDE | dict(vocab_size=400) for n in ("bert", "roberta", "electra", "deberta-v2", "deberta", "mpnet", "convbert", "roformer", "squeezebert", "ernie", "camembert", "xlm-roberta", "layoutlm", "nystromformer", "yoso", "megatron-bert", "esm", "ibert", "splinter", "rembert", "bros")},
    "distilbert": dict(dim=128, n_layers=3, n_heads=4, hidden_dim=256, vocab_size=400), "albert": WIDE | dict(embedding_size=64, vocab_size=400), "mobilebert": dict(num_hidden_layers=2, vocab_size=400), "flaubert": dict(emb_dim=128, n_layers=2, n_heads=4, n_words=400),
    "fnet": WIDE | dict(vocab_size=400), "funnel": dict(block_sizes=[2, 2], d_model=128, n_head=4, d_head=32, d_inner=256, vocab_size=400), "modernbert": WIDE | dict(vocab_size=400, pad_token_id=0, global_attn_every_n_layers=2), "xlnet": dict(d_model=128, n_layer=2, n_head=4, d_inner=256, vocab_size=400),
    "gpt2": dict(n_embd=128, n_layer=3, n_head=4, vocab_size=400), "openai-gpt": dict(n_embd=128, n_layer=2, n_head=4, vocab_size=400), "gptj": dict(n_embd=128, n_layer=2, n_head=4, rotary_dim=16, vocab_size=400), "codegen": dict(n_embd=128, n_layer=2, n_head=4, rotary_dim=16, vocab_size=400),
    "gpt_neo": dict(hidden_size=128, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], vocab_size=400), "gpt_bigcode": dict(n_embd=128, n_layer=2, n_head=4, vocab_size=400), "bloom": dict(hidden_size=128, n_layer=2, n_head=4, vocab_size=400),
    "opt": dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, ffn_dim=256, vocab_size=400, word_embed_proj_dim=128), "falcon": WIDE | dict(vocab_size=400), "mpt": dict(d_model=128, n_heads=4, n_layers=2, vocab_size=400), "xglm": dict(d_model=128, num_layers=2, attention_heads=4, ffn_dim=256, vocab_size=400),
    **{n: GROUPED for n in ("llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "gpt_neox", "stablelm", "starcoder2", "olmo", "olmo2", "cohere", "granite", "persimmon", "helium", "glm", "glm4", "nemotron", "smollm3", "exaone4", "ernie4_5")},
    **{n: GROUPED | dict(head_dim=32) for n in ("gemma", "gemma2", "gemma3_text", "cohere2", "mixtral", "qwen3_moe", "olmoe")},
    "t5": dict(d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4, vocab_size=400), "mt5": dict(d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4, vocab_size=400),
    "bart": BART, "marian": BART | dict(pad_token_id=1), "pegasus": BART, "m2m_100": BART, "blenderbot": BART, "prophetnet": dict(hidden_size=128, num_encoder_layers=2, num_decoder_layers=2, num_encoder_attention_heads=4, num_decoder_attention_heads=4, encoder_ffn_dim=256, decoder_ffn_dim=256, vocab_size=400),
    "mamba": dict(hidden_size=64, num_hidden_layers=2, vocab_size=400), "rwkv": dict(hidden_size=64, num_hidden_layers=2, vocab_size=400), "clip_text_model": WIDE | dict(vocab_size=400), "siglip_text_model": WIDE | dict(vocab_size=400),
}
PLAIN = WIDE | dict(image_size=64, patch_size=8)
VISION = {  # model type: side of the picture and options
    **{n: (64, PLAIN) for n in ("vit", "deit", "beit", "data2vec-vision", "dinov2", "dinov2_with_registers", "vit_msn", "clip_vision_model", "siglip_vision_model", "ijepa")},
    "dinov3_vit": (64, PLAIN), "swin": (64, dict(image_size=64, embed_dim=32, depths=[1, 2], num_heads=[2, 4], window_size=4)), "swinv2": (64, dict(image_size=64, embed_dim=32, depths=[1, 2], num_heads=[2, 4], window_size=4)),
    "convnext": (64, dict(hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1])), "convnextv2": (64, dict(hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1])), "dinov3_convnext": (64, dict(hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1])),
    "resnet": (64, dict(embedding_size=32, hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 1, 1])), "regnet": (64, dict(embedding_size=32, hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 1, 1], groups_width=16)), "bit": (64, dict(embedding_size=32, hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 1, 1], num_groups=8)),
    "mobilenet_v1": (64, {}), "mobilenet_v2": (64, {}), "mobilevit": (64, dict(image_size=64)), "mobilevitv2": (64, dict(image_size=64)), "efficientnet": (64, dict(width_coefficient=.5, depth_coefficient=.5, image_size=64)),
    "segformer": (64, dict(depths=[1, 1, 1, 1])), "glpn": (64, dict(depths=[1, 1, 1, 1])), "pvt": (64, dict(image_size=64, depths=[1, 1, 1, 1])), "pvt_v2": (64, dict(image_size=64, depths=[1, 1, 1, 1])), "poolformer": (64, {}), "cvt": (64, dict(depth=[1, 1, 2])), "levit": (64, dict(image_size=64)),
    "focalnet": (64, dict(image_size=64, embed_dim=32, depths=[1, 2], focal_levels=[2, 2], focal_windows=[3, 3])), "hiera": (64, dict(image_size=[64, 64], embed_dim=32, depths=[1, 1, 2, 1])), "swiftformer": (64, dict(image_size=64)), "textnet": (64, {}), "hgnet_v2": (64, {}),
    "dpt": (64, PLAIN | dict(backbone_out_indices=[0, 1, 2, 2], num_hidden_layers=4)), "sam_vision_model": (64, WIDE | dict(image_size=64, patch_size=8, output_channels=32, window_size=4, global_attn_indexes=[1], mlp_dim=256)), "rt_detr_resnet": (64, {}),
}
AUDIO = {n: dict(hidden_size=96, num_hidden_layers=2, num_attention_heads=4, intermediate_size=192, conv_dim=[32, 32, 32], conv_stride=[5, 2, 2], conv_kernel=[10, 3, 2], num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4) for n in ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio", "sew")}
YOLO = ("yolov3-tiny", "yolov5n", "yolov6n", "yolov8n", "yolov8n-seg", "yolov8n-pose", "yolov8n-obb", "yolov8n-cls", "yolov8n-p2", "yolov8n-ghost", "yolov9t", "yolov10n", "yolo11n", "yolo11n-seg", "yolo12n", "yolo26n", "rtdetr-l")


class First(torch.nn.Module):
    """A network by keywords, with its first tensor as output."""

    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *args):
        out = self.model(**dict(zip(self.names, args)))
        out = out if isinstance(out, torch.Tensor) else next(v for v in (out.to_tuple() if hasattr(out, "to_tuple") else out) if v is not None)
        return out[0] if isinstance(out, tuple) else out


def build(name):
    """The network, the names of its inputs, and the inputs for a batch."""
    kind = lambda options: AutoModel.from_config(AutoConfig.for_model(name, **options))
    if name in TEXT:
        model = kind(TEXT[name])
        names = ["input_ids", "attention_mask"] if name not in ("mamba", "rwkv", "fnet") else ["input_ids"]
        if model.config.is_encoder_decoder: names.append("decoder_input_ids")
        model.config.use_cache = False
        ids = lambda n: torch.randint(5, 300, (n, 16), generator=torch.Generator().manual_seed(1))
        return model, names, lambda n: tuple(torch.ones_like(ids(n)) if x == "attention_mask" else ids(n) for x in names), {1: "length"}
    if name in VISION:
        side, options = VISION[name]
        return kind(options), ["pixel_values"], lambda n: (torch.randn(n, 3, side, side),), {}
    if name in AUDIO:
        return kind(AUDIO[name]), ["input_values"], lambda n: (torch.randn(n, 4000),), {}
    from ultralytics.nn.tasks import DetectionModel, SegmentationModel, PoseModel, OBBModel, ClassificationModel, RTDETRDetectionModel
    task = {"seg": SegmentationModel, "pose": PoseModel, "obb": OBBModel, "cls": ClassificationModel}.get(name.split("-")[-1], RTDETRDetectionModel if name.startswith("rtdetr") else DetectionModel)
    model = task(name + ".yaml", ch=3, verbose=False).eval()
    for m in model.modules():
        if hasattr(m, "export"): m.export, m.format = True, "onnx"
    if hasattr(model, "fuse"): model = model.fuse(verbose=False)
    return model, ["x"], lambda n: (torch.randn(n, 3, 160, 160),), {}


def runs(path, names, x, free):
    """Raises where ONNX Runtime does not run what was exported, at another batch and length too where they are free, or gives something else the second time."""
    session = onnxruntime.InferenceSession(path)
    taken = {i.name for i in session.get_inputs()}
    feeds = {n: v.numpy() for n, v in zip(names, x) if n in taken}
    if free: session.run(None, {n: v[:1, :12] if 1 in free else v[:1] for n, v in feeds.items()})
    if not numpy.array_equal(*(session.run(None, feeds)[0] for _ in range(2)), equal_nan=True): raise ValueError("it is random")


def export(folder, name):
    try:
        torch.manual_seed(0)
        model, names, inputs, free = build(name)
    except Exception as e:
        return print(f"{name}: no such network here: {type(e).__name__}: {str(e)[:120]!r}", flush=True)
    first = First(model, names).eval()
    x = inputs(2)
    batch = torch.export.Dim("batch")
    variants = {"ts": dict(dynamo=False, opset_version=17, dynamic_axes={n: {0: "batch", **free} for n in names}), "dy": dict(dynamo=True, external_data=False, verbose=False),
                "dyb": dict(dynamo=True, external_data=False, verbose=False, dynamic_shapes=(tuple({0: batch} for _ in names),))}
    for variant, options in variants.items():
        path = os.path.join(folder, f"{name}.{variant}.onnx")
        if os.path.exists(path): continue
        try:
            torch.onnx.export(first, x, path + ".part", input_names=names, **options)
            runs(path + ".part", names, x, options.get("dynamic_axes", {}).get(names[0]) or ("dynamic_shapes" in options and {0: "batch"}))
            os.rename(path + ".part", path); print(path, flush=True)
        except Exception as e: print(f"{name}.{variant}: the exporter fails: {type(e).__name__}: {str(e)[:120]!r}", flush=True)


if __name__ == "__main__":
    for name in sys.argv[2:] or [*TEXT, *VISION, *AUDIO, *YOLO]: export(sys.argv[1], name)
