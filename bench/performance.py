#!/usr/bin/env python3
"""One page of what takes how long: every stage over models of growing size, with a picture, and the tables that the benchmarks against the peers have left.

    bench/performance.py [--count 6] [--only REGEX] [--page docs/results/performance.md]
    bench/performance.py --compare BASE [--count 6]      # exit code 1 where something has become slower for certain

The first writes the page, its picture and the runs themselves (.txt, for benchstat). The second compares by benchstat (golang.org/x/perf): BASE is a commit, which is built and run in turns with this tree, or a file of saved runs. Slower counts where p < 0.01 and the
median has grown by more than 25 %, against a file beyond what all benchmarks together have, since the machine may be slower today."""
import argparse, collections, csv, io, math, os, re, shutil, statistics, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..")
BENCHSTAT = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"
LINE = re.compile(r"^Benchmark(\w+)/(\S+?)-\d+\s+\d+\s+([\d.]+) ns/op\s+([\d.]+) MB/s\s+(\d+) B/op")
PEERS = [("Pruning from file to file, against onnxsim and Torch-Pruning", "prune-speed.md"), ("The metanetwork's forward, against PyTorch Geometric", "metanet-speed.md"), ("Training, against PyTorch", "train-speed.md")]
LIMIT = 1.25


def bench(count, only):
    r = subprocess.run(["go", "test", "./bench/stages", "-run", "xxx", "-bench", only, "-benchtime", "0.3s", "-count", str(count), "-timeout", "60m"], cwd=ROOT, capture_output=True, text=True)
    if r.returncode: sys.exit(r.stdout + r.stderr)
    return r.stdout


def parse(text):
    """Seconds by stage and model; megabytes by model; allocated bytes."""
    runs, sizes = collections.defaultdict(list), {}
    for line in text.splitlines():
        if m := LINE.match(line):
            ns = float(m[3])
            runs[m[1], m[2]].append((ns / 1e9, int(m[5])))
            sizes[m[2]] = float(m[4]) * ns / 1e9
    return runs, sizes


def picture(runs, sizes, path):
    """Seconds over megabytes, both logarithmic, one line a stage, ResNet-50 by width."""
    models = sorted((m for m in sizes if m.startswith("resnet50")), key=sizes.get)
    stages = sorted({s for s, _ in runs})
    colours = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2"]
    x = lambda mb: 60 + 520 * math.log(mb) / math.log(500)
    y = lambda s: 330 - 300 * (math.log10(s) + 4) / 6
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 380" font-family="sans-serif" font-size="12"><rect width="720" height="380" fill="#fff"/>']
    for s, label in [(1e-4, "0.1 ms"), (1e-3, "1 ms"), (1e-2, "10 ms"), (1e-1, "0.1 s"), (1, "1 s"), (10, "10 s"), (100, "100 s")]:
        out.append(f'<path d="M60 {y(s):.0f}H580" stroke="#ddd"/><text x="54" y="{y(s) + 4:.0f}" text-anchor="end" fill="#555">{label}</text>')
    for mb in (1, 3, 10, 30, 100, 300):
        out.append(f'<path d="M{x(mb):.0f} 30V330" stroke="#eee"/><text x="{x(mb):.0f}" y="348" text-anchor="middle" fill="#555">{mb} MB</text>')
    labels = []
    for i, stage in enumerate(stages):
        points = [(x(sizes[m]), y(statistics.median(t for t, _ in runs[stage, m]))) for m in models if (stage, m) in runs]
        if not points: continue
        c = colours[i % len(colours)]
        out.append(f'<path d="M{" L".join(f"{a:.1f} {b:.1f}" for a, b in points)}" fill="none" stroke="{c}" stroke-width="2"/>' + "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{c}"/>' for a, b in points))
        labels.append([points[-1][1] + 4, points[-1][0] + 8, c, stage.lower()])
    labels.sort()
    for a, b in zip(labels, labels[1:]):
        if abs(a[1] - b[1]) < 80: b[0] = max(b[0], a[0] + 14)
    out += [f'<text x="{left:.0f}" y="{at:.0f}" fill="{c}">{name}</text>' for at, left, c, name in labels]
    out.append('<text x="320" y="370" text-anchor="middle" fill="#555">model file (ResNet-50 by width)</text></svg>')
    open(path, "w").write("\n".join(out) + "\n")


def page(runs, sizes, name, count):
    spread = lambda v: f"{statistics.median(v) * 1000:.3g} ± {100 * (max(v) - min(v)) / 2 / statistics.median(v):.0f} %"
    out = ["# Performance", f"`make performance`: median of {count} runs and half the range between the fastest and the slowest, in milliseconds on two cores; in the Go process, files in memory. `make performance-compare BASE=...` compares with saved runs.", "",
           f"![seconds over file size]({os.path.basename(name)}.svg)", "", "| stage | model | MB | ms | MB allocated |", "|---|---|---|---|---|"]
    for (stage, model), v in runs.items():
        out.append(f"| {stage.lower()} | {model} | {sizes[model]:.1f} | {spread([t for t, _ in v])} | {statistics.median(b for _, b in v) / 1e6:.1f} |")
    out += ["", "inspect decodes and analyses; score is group L2; plan chooses for 2x with scores at hand; apply cuts, analyses again and writes; graph goes to the parameter graph and back; metanet is a plan by the metanetwork in the program.", ""]
    for title, file in PEERS:
        path = os.path.join(ROOT, "docs/results", file)
        if os.path.exists(path):
            table = [l for l in open(path).read().splitlines() if l.startswith("|")]
            out += [f"## {title}", f"From [{file}]({file}), where the commands and versions are.", "", *table, ""]
    out += ["## In the browser, at the edge and over HTTP", "Measured by their tests: [site.md](../site.md), [serving.md](../serving.md).", ""]
    open(name + ".md", "w").write("\n".join(out))


def alternately(ref, count, only):
    """Runs of the tree at a commit and of this one, in turns, so that both meet the same machine."""
    with tempfile.TemporaryDirectory() as folder:
        tree = folder + "/tree"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", tree, ref], cwd=ROOT, check=True)
        try:
            shutil.copytree(os.path.join(ROOT, "bench/stages"), tree + "/bench/stages", dirs_exist_ok=True)
            for where, name in ((tree, "old"), (ROOT, "new")):
                subprocess.run(["go", "test", "-c", "-o", f"{folder}/{name}", "./bench/stages"], cwd=where, check=True)
            texts = {"old": "", "new": ""}
            for _ in range(count):
                for name in texts:
                    texts[name] += subprocess.run([f"{folder}/{name}", "-test.run", "xxx", "-test.bench", only, "-test.benchtime", "0.3s"], capture_output=True, text=True, check=True).stdout
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT)
    return texts["old"], texts["new"]


def compare(before, now, drift=None):
    """Slower counts where benchstat is sure of a difference and the median has grown by more than LIMIT; against saved runs, beyond what all benchmarks together have: a machine that is slower today slows everything."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("before", before), ("now", now)): open(f"{folder}/{name}", "w").write(text)
        r = subprocess.run(["go", "run", BENCHSTAT, "-alpha", "0.01", "-filter", ".unit:sec/op", "-format", "csv", f"{folder}/before", f"{folder}/now"], cwd=ROOT, capture_output=True, text=True)
    if r.returncode: sys.exit(r.stderr)
    rows = [row for row in csv.reader(io.StringIO(r.stdout)) if len(row) >= 7 and "/" in row[0] and row[1] and row[3]]
    drift = drift or statistics.median(float(row[3]) / float(row[1]) for row in rows)
    slower = []
    for row in rows:
        change = float(row[3]) / float(row[1])
        worse = row[5] != "~" and change / drift > LIMIT
        print(f"{row[0]:32} {1000 * float(row[1]):10.3f} ms {1000 * float(row[3]):10.3f} ms  {change:5.2f}x  {row[6]}{'  SLOWER' if worse else ''}")
        if worse: slower.append(row[0])
    print(f"the machine counts for {drift:.2f}x")
    if slower: sys.exit("slower than before: " + ", ".join(slower))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, default=6); p.add_argument("--only", default="."); p.add_argument("--page", default="docs/results/performance"); p.add_argument("--compare")
    a = p.parse_args()
    if a.compare and not os.path.isfile(a.compare): return compare(*alternately(a.compare, a.count, a.only), drift=1)
    text = bench(a.count, a.only)
    if a.compare: return compare(open(a.compare).read(), text)
    runs, sizes = parse(text)
    open(a.page + ".txt", "w").write(text)
    picture(runs, sizes, a.page + ".svg")
    page(runs, sizes, a.page, a.count)


if __name__ == "__main__":
    main()
