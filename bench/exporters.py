#!/usr/bin/env python3
"""Exports networks with random weights by exporters that do not start from torch.onnx: bench/exporters.py optimum|jax|paddle FOLDER [NAME...].

    optimum   Hugging Face's optimum-onnx: NAME.FILE.optimum.onnx. Needs optimum-onnx and the transformers that it asks for.
    jax       jax2onnx's own examples of flax and equinox: NAME.jax.onnx, for inference (no Dropout), behind `metaprune inline` where layers are functions. Needs jax2onnx, flax and equinox, and bin/metaprune.
    paddle    paddle2onnx: NAME.paddle.onnx. Needs paddlepaddle and paddle2onnx.

What is there is left alone; what the exporter fails on is said and left out. bench/zoo.py FOLDER --wide --out docs/results/exporters makes the table."""
import os, shutil, subprocess, sys, tempfile, warnings

warnings.filterwarnings("ignore")
METAPRUNE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bin", "metaprune")


def optimum(folder, wanted):
    import torch, transformers
    from optimum.exporters.onnx import onnx_export_from_model
    common = dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256, vocab_size=400)
    decoder = common | dict(num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2, max_position_embeddings=128)
    networks = {
        "bert": ("text-classification", "SequenceClassification", common),
        "distilbert": ("text-classification", "SequenceClassification", dict(dim=128, n_layers=2, n_heads=4, hidden_dim=256, vocab_size=400)),
        "roberta": ("feature-extraction", "", common),
        "gpt2": ("text-generation-with-past", "CausalLM", dict(n_embd=128, n_layer=2, n_head=4, vocab_size=400, bos_token_id=1, eos_token_id=2)),
        "llama": ("text-generation-with-past", "CausalLM", decoder),
        "llama-nopast": ("text-generation", "CausalLM", decoder),
        "qwen2": ("text-generation-with-past", "CausalLM", decoder),
        "t5": ("text2text-generation-with-past", "Seq2SeqLM", dict(d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4, vocab_size=400)),
        "bart": ("text2text-generation-with-past", "Seq2SeqLM",
                 dict(d_model=128, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=256, decoder_ffn_dim=256, vocab_size=400)),
        "vit": ("image-classification", "ImageClassification", dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256, image_size=64, patch_size=8)),
        "resnet": ("image-classification", "ImageClassification", dict(embedding_size=32, hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 1, 1])),
        "swin": ("image-classification", "ImageClassification", dict(image_size=64, embed_dim=32, depths=[1, 2], num_heads=[2, 4], window_size=4)),
        "wav2vec2": ("automatic-speech-recognition", "CTC", dict(hidden_size=96, num_hidden_layers=2, num_attention_heads=4, intermediate_size=192, conv_dim=[32, 32, 32], conv_stride=[5, 2, 2],
                                                               conv_kernel=[10, 3, 2], num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, vocab_size=32)),
    }
    for name, (task, head, options) in networks.items():
        if wanted and name not in wanted or any(f.startswith(name + ".") and f.endswith(".optimum.onnx") for f in os.listdir(folder)):
            continue
        with attempt(name), tempfile.TemporaryDirectory() as out:
            torch.manual_seed(0)
            model = getattr(transformers, "AutoModel" + ("For" + head if head else ""))
            onnx_export_from_model(model.from_config(transformers.AutoConfig.for_model(name.split("-")[0], **options)).eval(), out, task=task, do_validation=False)
            for file in sorted(os.listdir(out)):
                if file.endswith(".onnx"):
                    part = "" if file == "model.onnx" else "." + file.removesuffix(".onnx").replace("_model", "")
                    shutil.copy(os.path.join(out, file), os.path.join(folder, f"{name}{part}.optimum.onnx"))


def jax(folder, wanted):
    os.environ["JAX_PLATFORMS"] = "cpu"
    import importlib, pkgutil
    import jax, jax.numpy as jnp, numpy as np, onnx, onnx.numpy_helper
    import jax2onnx.plugins.examples as examples
    from jax2onnx import to_onnx
    from jax2onnx.plugins import plugin_system
    plugin_system.import_all_plugins()
    for module in pkgutil.walk_packages(examples.__path__, examples.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except Exception as e:
            print("import", module.name, repr(e)[:100])
    for _, example in sorted(plugin_system.EXAMPLE_REGISTRY.items()):
        if not any(s in example.get("context", "") for s in ("nnx", "eqx", "linen", "maxtext", "maxdiffusion", "onnx_functions")):
            continue
        for case in example.get("testcases", []):
            name = case["testcase"]
            path = os.path.join(folder, name + ".jax.onnx")
            if wanted and name not in wanted or os.path.exists(path):
                continue
            with attempt(name):
                call = case["callable"]
                call = call.with_dtype(jnp.float32) if hasattr(call, "with_dtype") else call
                call = call.instantiate() if hasattr(call, "instantiate") else call
                shapes = case.get("input_shapes")
                if shapes is None:
                    shapes = [jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype) for x in case["input_values"]]
                elif case.get("input_dtypes"):
                    shapes = [jax.ShapeDtypeStruct(tuple(2 if isinstance(d, str) else d for d in s), t) for s, t in zip(shapes, case["input_dtypes"])]
                model = to_onnx(call, shapes, input_params=case.get("input_params"))
                for i in [i for i in model.graph.input if i.name == "deterministic"]:  # an input that switches Dropout on
                    model.graph.input.remove(i)
                    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), i.name))
                onnx.save(model, path)
                if model.functions:
                    subprocess.run([METAPRUNE, "inline", path, "-o", path + ".flat", "-q"], check=True)
                    os.replace(path + ".flat", path)


def paddle(folder, wanted):
    import paddle
    from paddle import nn
    from paddle.vision import models

    class Encoder(nn.Layer):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Linear(16, 64), nn.Linear(64, 10)
            self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128), 2)

        def forward(self, x):
            return self.head(self.body(self.embed(x)).mean(1))

    networks = {n: (getattr(models, n), [None, 3, 64, 64]) for n in ("resnet18", "resnext50_32x4d", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_0", "shufflenet_v2_x0_5", "densenet121")}
    networks |= {"inception_v3": (models.inception_v3, [None, 3, 299, 299]), "lenet": (models.LeNet, [None, 1, 28, 28]), "alexnet": (models.alexnet, [None, 3, 224, 224]), "encoder": (Encoder, [None, 12, 16])}
    for name, (make, shape) in networks.items():
        path = os.path.join(folder, name + ".paddle")
        if wanted and name not in wanted or os.path.exists(path + ".onnx"):
            continue
        with attempt(name):
            paddle.seed(0)
            network = make()
            network.eval()
            paddle.onnx.export(network, path, input_spec=[paddle.static.InputSpec(shape, "float32", "x")], opset_version=17)


class attempt:
    """Says what an export failed on, and goes on."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        print(self.name, "ok" if error is None else f"fails: {kind.__name__}: {str(error)[:200]}", flush=True)
        return error is None or isinstance(error, Exception)


if __name__ == "__main__":
    exporter, folder, *names = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    {"optimum": optimum, "jax": jax, "paddle": paddle}[exporter](folder, names)
