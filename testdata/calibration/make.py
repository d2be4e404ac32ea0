"""Writes the small models and samples that docs/calibration.md uses, into this folder.

python make.py, with numpy, onnx and pillow.
"""
import gzip
import pathlib
import shutil
import wave
import zipfile

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from PIL import Image

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(0)


def weight(name, *shape):
    fan = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
    return nh.from_array((rng.normal(size=shape) / np.sqrt(fan)).astype(np.float32), name)


def save(name, nodes, inputs, output, weights):
    graph = h.make_graph(nodes, name, [h.make_tensor_value_info(n, t, d) for n, t, d in inputs], [h.make_tensor_value_info("y", T.FLOAT, output)], weights)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, here / f"{name}.onnx")


def models():
    n = h.make_node
    save("table", [n("Gemm", ["x", "a"], ["1"]), n("Relu", ["1"], ["2"]), n("Gemm", ["2", "b"], ["3"]), n("Relu", ["3"], ["4"]), n("Gemm", ["4", "c"], ["y"])],
         [("x", T.FLOAT, ["n", 4])], ["n", 3], [weight("a", 4, 32), weight("b", 32, 32), weight("c", 32, 3)])
    save("sound", [n("Conv", ["x", "a"], ["1"], kernel_shape=[8], strides=[4]), n("Relu", ["1"], ["2"]), n("Conv", ["2", "b"], ["3"], kernel_shape=[5], strides=[2]), n("Relu", ["3"], ["4"]),
                   n("GlobalAveragePool", ["4"], ["5"]), n("Flatten", ["5"], ["6"]), n("Gemm", ["6", "c"], ["y"])],
         [("x", T.FLOAT, ["n", 1, 400])], ["n", 5], [weight("a", 16, 1, 8), weight("b", 24, 16, 5), weight("c", 24, 5)])
    one = nh.from_array(np.array([2], np.int64), "one")
    save("text", [n("Gather", ["e", "input_ids"], ["1"]), n("Cast", ["attention_mask"], ["m"], to=T.FLOAT), n("Unsqueeze", ["m", "one"], ["m3"]), n("Mul", ["1", "m3"], ["2"]),
                  n("MatMul", ["2", "a"], ["3"]), n("Relu", ["3"], ["4"]), n("MatMul", ["4", "b"], ["5"]), n("ReduceMean", ["5"], ["y"], axes=[1], keepdims=0)],
         [("input_ids", T.INT64, ["n", "t"]), ("attention_mask", T.INT64, ["n", "t"])], ["n", 4], [weight("e", 600, 16), weight("a", 16, 48), weight("b", 48, 4), one])


def samples():
    raw = gzip.decompress((here.parent / "fashion-train-100-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)
    photos = here / "photos"
    shutil.rmtree(photos, ignore_errors=True)
    photos.mkdir()
    with zipfile.ZipFile(here / "photos.zip", "w") as z:
        for i in range(10):
            Image.fromarray(images[i]).save(photos / f"{i}.png", optimize=True)
            z.write(photos / f"{i}.png", f"{i}.png")
    rows = rng.normal(size=(40, 4)).round(3)
    (here / "rows.csv").write_text("a,b,c,d\n" + "".join(",".join(map(str, r)) + "\n" for r in rows))
    np.save(here / "rows.npy", rows.astype(np.float32))
    t = np.arange(4800) / 16000
    x = sum(rng.normal() * np.sin(2 * np.pi * f * t + rng.normal()) for f in [220, 330, 700, 1500]) * 0.2
    with wave.open(str(here / "sound.wav"), "wb") as w:
        w.setparams((1, 2, 16000, len(x), "NONE", ""))
        w.writeframes((np.clip(x, -1, 1) * 32767).astype("<i2").tobytes())
    np.savez(here / "tokens.npz", input_ids=rng.integers(0, 600, (12, 9)), attention_mask=np.ones((12, 9), bool).astype(np.int32))
    pages = [l for l in (here.parents[1] / "docs/install.md").read_text().splitlines() if len(l.split()) > 5 and "`" not in l]
    (here / "lines.txt").write_text("\n".join(pages[:30]) + "\n")
    shutil.copy(here.parents[1] / "native/samples/tokenizer/testdata/bert.json", here / "tokenizer.json")


models()
samples()
