"""Runs programs, and ends the test where something is not as wanted."""
import json, os, subprocess, sys

MODEL = "testdata/fashion-resnet20.onnx"
PRUNE = ["--speed-up", "2", "--quiet"]


def want(got, wanted, what):
    if got != wanted:
        sys.exit(f"{what}: want {wanted}, got {got}")


def run(*command, read=False, cwd=None, env=None):
    """Returns what the command prints; as JSON with read."""
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=900)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return json.loads(done.stdout) if read else done.stdout


def contents(path):
    with open(path, "rb") as f:
        return f.read()


def pruned_by(program, out, version):
    """Asks an installed program for its version, prunes a model with it and returns the bytes."""
    want(run(program, "--version", "--json", read=True)["metaprune"], version, f"version of {program}")
    run(program, "prune", MODEL, *PRUNE, "-o", out)
    smaller = contents(out)
    if not 1000 < len(smaller) < os.path.getsize(MODEL):
        sys.exit(f"{out} has {len(smaller)} bytes, {MODEL} {os.path.getsize(MODEL)}")
    return smaller
