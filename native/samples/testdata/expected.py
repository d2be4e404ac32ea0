"""Writes the files that the tests read, and what Python makes of them, into this folder.

python expected.py, with numpy, pillow, torch, torchvision and tokenizers.
"""
import json
import pathlib
import wave

import numpy as np
import torchvision.transforms as T
from PIL import Image

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(0)
expected = {}


def smooth(h, w, c):
    """A picture with gradients, edges and a little noise."""
    y, x = np.mgrid[:h, :w]
    planes = [128 + 80 * np.sin(x / (5 + k)) * np.cos(y / (7 - k)) + 40 * (x > w // 2) + rng.normal(0, 4, (h, w)) for k in range(c)]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def pictures():
    Image.fromarray(smooth(47, 61, 3)).save(here / "rgb.png")
    Image.fromarray(smooth(50, 33, 4)).save(here / "rgba.png")
    Image.fromarray(smooth(20, 17, 1)[..., 0]).save(here / "gray.png")
    Image.fromarray(smooth(64, 80, 3)).save(here / "photo.jpg", quality=90)
    for name in ["rgb.png", "rgba.png", "gray.png", "photo.jpg"]:
        image = Image.open(here / name)
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        crop = T.Compose([T.Resize(32 * 256 // 224), T.CenterCrop(32), T.ToTensor(), T.Normalize(mean, std)])
        expected[f"{name}.crop"] = crop(image.convert("RGB")).numpy()
        expected[f"{name}.stretch"] = np.asarray(image.convert("RGB").resize((24, 40), Image.BILINEAR), np.float32).transpose(2, 0, 1) / 255
        expected[f"{name}.one"] = T.Compose([T.Grayscale(), T.Resize(16 * 256 // 224), T.CenterCrop(16), T.ToTensor()])(image.convert("RGB")).numpy()


def sounds():
    rate, t = 22050, np.arange(2205) / 22050
    left, right = 0.6 * np.sin(2 * np.pi * 440 * t), 0.3 * np.sin(2 * np.pi * 700 * t)
    both = np.stack([left, right], -1)

    def pcm(name, bits, x):
        top = 2 ** (bits - 1)
        q = np.clip(np.round(x * top), -top, top - 1).astype(np.int64)
        raw = (q + 128 if bits == 8 else q).reshape(-1)
        data = b"".join(int(v).to_bytes(bits // 8, "little", signed=bits != 8) for v in raw)
        with wave.open(str(here / name), "wb") as w:
            w.setparams((x.shape[1], bits // 8, rate, len(x), "NONE", ""))
            w.writeframes(data)
        return (q / top).mean(1)

    for bits in [8, 16, 24, 32]:
        mono = pcm(f"pcm{bits}.wav", bits, both[:600])
        n = len(mono) * 16000 // rate
        expected[f"pcm{bits}.wav"] = np.interp(np.arange(n) * rate / 16000, np.arange(len(mono)), mono).astype(np.float32)
    x = both[:300].astype("<f4")
    head = b"WAVEfmt " + np.array([16], "<u4").tobytes() + np.array([3, 2], "<u2").tobytes() + np.array([16000, 16000 * 8], "<u4").tobytes() + np.array([8, 32], "<u2").tobytes()
    body = head + b"data" + np.array([x.nbytes], "<u4").tobytes() + x.tobytes()
    (here / "float.wav").write_bytes(b"RIFF" + np.array([len(body)], "<u4").tobytes() + body)
    expected["float.wav"] = x.mean(1).astype(np.float32)


pictures()
sounds()
np.savez_compressed(here / "expected.npz", **expected)
