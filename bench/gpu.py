#!/usr/bin/env python3
"""Measures one backend on this machine and writes a page: which engines work, ONNX's node tests, training with and without bfloat16, calibration, meta-training. Called by gpu.sh.

Each step has a share of the minutes; one that takes longer is ended and said to be so. A step that fails is on the page with its last line.
"""
import argparse, json, os, re, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "bin/gpu/metaprune")
IMAGES = ["--images", "testdata/fashion-test-1000-images-idx3-ubyte.gz", "--labels", "testdata/fashion-test-1000-labels-idx1-ubyte.gz"]


# How much of each step is done: on a GPU, and where the script is tried without one.
SIZES = {True: dict(pictures=512, batch=64, epochs=3, samples=100, steps=50, meta=500), False: dict(pictures=16, batch=8, epochs=2, samples=10, steps=5, meta=100)}


class Run:
    """The steps that have run, and the time that is left."""

    def __init__(self, minutes):
        self.end, self.rows = time.time() + 60 * minutes, []

    def step(self, name, command, read, limit, folder=ROOT, **environment):
        """Runs a command for at most limit seconds; read makes a sentence of what it printed."""
        limit, start = min(limit, self.end - time.time()), time.time()
        try:
            if limit < 5: raise subprocess.TimeoutExpired(command, limit)
            r = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=limit, env={**os.environ, **environment})
            said = read(r.stdout) if r.returncode == 0 else "failed: " + last(r.stderr or r.stdout)
        except subprocess.TimeoutExpired:
            said = f"not finished in {max(limit, 0):.0f} s"
        except (KeyError, IndexError, ValueError, AttributeError) as e:
            said = f"gave nothing that can be read ({e!r})"
        self.rows.append((name, said, time.time() - start))
        print(f"{name}: {said} ({self.rows[-1][2]:.0f} s)", flush=True)

    def metaprune(self, name, arguments, read, limit=120):
        self.step(name, [PROGRAM, *arguments, "--json", "-q"], read, limit)


def last(text):
    lines = [l for l in text.strip().splitlines() if l.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def doctor(text):
    return "; ".join(f"{d['backend']} {d['matmul_gflops']:.0f} GFLOP/s" if d["works"] else f"{d['backend']} does not work" for d in json.loads(text))


def speed(folder):
    """Images a second of the last epoch: what is compiled is compiled by then."""
    def read(_):
        with open(os.path.join(folder, "metrics.jsonl")) as f: lines = [json.loads(l) for l in f]
        return f"{lines[-1]['images_per_second']:.0f} images/s"
    return read


def training(run, backend, folder, size):
    small, large, data = (os.path.join(folder, n) for n in ("small.onnx", "large.onnx", "random.npz"))
    subprocess.run([PROGRAM, "new", "resnet20", "--input", "1x28x28", "-o", small, "-q"], check=True)
    subprocess.run([PROGRAM, "new", "resnet50", "--input", "3x224x224", "--classes", "1000", "-o", large, "-q"], check=True)
    pictures(data, size["pictures"])
    for kind, half in (("float32", []), ("bfloat16", ["--bf16"]))[:2 if backend == "xla:cuda" else 1]:
        for name, model, source, batch, epochs in (("ResNet-20, 28x28", small, IMAGES, 128, 4), ("ResNet-50, 224x224", large, ["--data", data], size["batch"], size["epochs"])):
            out = os.path.join(folder, f"{os.path.basename(model)}-{kind}")
            run.metaprune(f"training {name}, batch {batch}, {kind}", ["train", model, *source, "--validation", "0", "--no-augment", "--epochs", str(epochs), "--batch", str(batch), "--backend", backend, "-o", out + ".onnx", "--run", out + ".run", *half], speed(out + ".run"), 90)
    return large, data


def pictures(path, n):
    import numpy as np
    r = np.random.default_rng(0)
    np.savez(path, x=r.integers(0, 255, (n, 3, 224, 224), np.uint8), y=r.integers(0, 1000, n))


def calibration(text):
    d = json.loads(text)
    r = d["repair"]
    return f"{d['achieved']['speed_up']:.2f}x, repair {r['seconds']:.1f} s, cosine {r['before']['cosine']:.3f} -> {r['after']['cosine']:.3f}"


def machine():
    try: gpu = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True).stdout.strip()
    except OSError: gpu = ""
    return f"{os.cpu_count()} cores, {gpu or 'no NVIDIA GPU'}"


def page(run, backend, path):
    title = "# On a GPU" if backend == "xla:cuda" else f"# The GPU script, tried on {backend}"
    lines = [title, f"Measured with `bench/gpu.sh run {backend}` on a machine with {machine()}. One run of each step, in this order; seconds are of the whole process, compilation included.", "", "| step | result | s |", "|---|---|---|"]
    lines += [f"| {n} | {said.replace('|', '/')} | {s:.0f} |" for n, said, s in run.rows]
    with open(path, "w") as f: f.write("\n".join(lines) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--backend", default="xla:cuda"); p.add_argument("--page", default="docs/results/gpu.md"); p.add_argument("--minutes", type=float, default=8)
    a = p.parse_args()
    run = Run(a.minutes)
    run.metaprune("engines and their matrix product", ["doctor"], doctor, 60)
    size = SIZES[a.backend == "xla:cuda"]
    with tempfile.TemporaryDirectory() as folder:
        large, data = training(run, a.backend, folder, size)
        run.metaprune(f"pruning ResNet-50 to 2x with obs and repair, {size['samples']} samples of 224x224", ["prune", large, "--speed-up", "2", "--criterion", "obs", "--calibrate", data, "--samples", str(size["samples"]), "--backend", a.backend, "-o", os.path.join(folder, "small50.onnx")], calibration, 120)
        run.metaprune(f"{size['steps']} steps of meta-training on ResNet-20, {size['meta']} images each", ["metatrain", "testdata/fashion-resnet20.onnx", *IMAGES, "--steps", str(size["steps"]), "--images-per-step", str(size["meta"]), "--batch", str(size["meta"]), "--backend", a.backend, "-o", os.path.join(folder, "meta.safetensors"), "--run", os.path.join(folder, "meta.run")], lambda _: "done", 90)
    passed = lambda text: re.search(r"(\d+ of \d+ node tests run and agree)", text)[1]
    run.step("ONNX's node tests", [os.path.join(ROOT, "bin/gpu/xla.test"), "-test.run", "^TestConformance$", "-test.v"], passed, 200, os.path.join(ROOT, "xla"), METAPRUNE_BACKEND=a.backend, METAPRUNE_NODE_TESTS=os.path.join(ROOT, "bin/gpu/node"))
    page(run, a.backend, a.page)
    sys.exit(any(said.startswith(("failed", "gave")) for _, said, _ in run.rows))


if __name__ == "__main__":
    main()
