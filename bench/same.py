#!/usr/bin/env python3
"""Compares two builds of metaprune: both prune the same models, and every byte that they write has to be equal.

    bench/same.py OLD NEW FILES... [--options '--speed-up 2'] [--except version] [--jobs 2] [--out bin/same.jsonl]

OLD and NEW are programs, FILES are ONNX models. For each model and each set of options both programs run
`prune MODEL OPTIONS -o out.onnx --plan plan.json -q`, each in an empty folder of its own. Compared are the exit code and
all files in the folder: the model, its external data, the plan and what a repair has fitted. Messages are not
compared; where they differ in a run that is otherwise the same, the summary counts it.

Prints one line per model and a summary. Writes one JSON object per run to --out. Exits with 0 when all runs
are the same, 1 when a run differs, 2 when no run wrote a model (nothing was compared)."""
import argparse, concurrent.futures, hashlib, json, os, shlex, subprocess, sys, tempfile, time

OPTIONS = [
    "--speed-up 1.5",
    "--params 0.6",
    "--ratio 0.3",
    "--size 60%",
    "--speed-up 1.5 --criterion l1 --ranking isomorphic",
    "--params 0.6 --criterion bn --reduction sum --ranking group",
    "--ratio 0.4 --criterion random --seed 3 --heads",
    "--speed-up 1.5 --criterion metanet",
    "--pattern 2:4",
]
SLOW = [  # tried on models below SMALL bytes alone: one compares all pairs of channels, one runs the network
    "--speed-up 1.5 --criterion fpgm --normalizer max --round-to 4",
    "--speed-up 1.5 --repair noise --samples 10",
]
SMALL = 1_000_000


def left(folder, excepted):
    """What is in every file below folder, by its name there: SHA-256, for the plan one of each of its fields
    (`plan.json version`) but the excepted ones."""
    files = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            with open(path, "rb") as f:
                files[os.path.relpath(path, folder)] = hashlib.file_digest(f, "sha256").hexdigest()
    if "plan.json" in files:
        with open(os.path.join(folder, "plan.json")) as f:
            fields = {k: v for k, v in json.load(f).items() if k not in excepted}
        files |= {f"plan.json {k}": hashlib.sha256(json.dumps(v).encode()).hexdigest() for k, v in fields.items()}
        if excepted:
            del files["plan.json"]
    return files


def prune(program, model, options, limit, excepted):
    """What one program does with one model: exit code (-1 after limit seconds), files, message and seconds."""
    command = [program, "prune", model, *shlex.split(options), "-o", "out.onnx", "--plan", "plan.json", "-q"]
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        try:
            r = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit)
            code, said = r.returncode, (r.stdout + r.stderr).decode(errors="replace").replace(folder, "")
        except subprocess.TimeoutExpired:
            code, said = -1, f"takes longer than {limit} s"
        seconds = time.time() - start
        return {"exit": code, "files": left(folder, excepted), "message": said.strip(), "seconds": round(seconds, 2)}


def compare(old, new, model, options, limit, excepted):
    """One run of both programs, and what differs: `exit`, names of files, fields of the plan, or `time`."""
    a, b = (prune(program, model, options, limit, excepted) for program in (old, new))
    names = sorted(a["files"].keys() | b["files"].keys())
    differs = ["exit"] * (a["exit"] != b["exit"]) + [n for n in names if a["files"].get(n) != b["files"].get(n)]
    if a["exit"] == -1 or b["exit"] == -1:
        differs.append("time")
    return {"model": model, "options": options, "differs": differs, "old": a, "new": b}


def line(model, runs):
    """One line about one model."""
    wrote = sum("out.onnx" in r["old"]["files"] for r in runs)
    different = [f"[{r['options']}] {', '.join(r['differs'])}" for r in runs if r["differs"]]
    state = "DIFFERENT" if different else "same"
    return f"{state:9} {model}: {wrote} of {len(runs)} runs write a model" + "".join("\n          " + d for d in different)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("old", help="the program that sets what is right")
    p.add_argument("new", help="the program that is compared with it")
    p.add_argument("files", nargs="+", help="ONNX models")
    p.add_argument("--options", action="append", help=("options of prune, one set per --options (default: " + "; ".join(OPTIONS) + f"; for models below {SMALL // 10**6} MB also " + "; ".join(SLOW) + ")").replace("%", "%%"))
    p.add_argument("--out", default="bin/same.jsonl", help="JSON lines, one per run (default: bin/same.jsonl)")
    p.add_argument("--jobs", type=int, default=1, help="models at a time (default: 1)")
    p.add_argument("--limit", type=int, default=300, help="seconds that one prune may take (default: 300)")
    p.add_argument("--except", dest="excepted", default="", help="fields of the plan that may differ, with commas, such as version,warnings; spaces and line ends of the plan are not compared then (default: none)")
    a = p.parse_args()
    old, new = os.path.abspath(a.old), os.path.abspath(a.new)
    missing = [f for f in (old, new, *a.files) if not os.path.isfile(f)]
    if missing:
        p.error("no such file: " + ", ".join(missing))

    def model(path):
        sets = a.options or OPTIONS + SLOW * (os.path.getsize(path) < SMALL)
        return [compare(old, new, os.path.abspath(path), o, a.limit, a.excepted.split(",") if a.excepted else []) for o in sets]

    os.makedirs(os.path.dirname(os.path.abspath(a.out)), exist_ok=True)
    runs = []
    with open(a.out, "w") as out, concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for path, got in zip(a.files, pool.map(model, a.files)):
            print(line(path, got), flush=True)
            out.writelines(json.dumps(r) + "\n" for r in got)
            out.flush()
            runs += got
    same = [r for r in runs if not r["differs"]]
    wrote = sum("out.onnx" in r["old"]["files"] for r in same)
    words = sum(r["old"]["message"] != r["new"]["message"] for r in same)
    print(f"{len(runs)} runs on {len(a.files)} models: {len(same)} the same ({wrote} write a model, {len(same) - wrote} end "
          f"with an error in both; {words} with other messages), {len(runs) - len(same)} different")
    sys.exit(1 if len(same) < len(runs) else 0 if wrote else 2)


if __name__ == "__main__":
    main()
