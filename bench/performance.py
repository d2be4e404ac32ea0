#!/usr/bin/env python3
"""One page of what takes how long: every stage over models of growing size, natively and as WebAssembly, pruning, the metanetwork and training beside the peers, and the service; with pictures.

    bench/performance.py [--count 5] [--only REGEX] [--without peers,wasm,api] [--page docs/results/performance]
    bench/performance.py --compare BASE [--count 5]      # exit code 1 where something has become slower for certain

The first measures all of it in one go and writes the page, its pictures and the runs of the stages themselves (.txt, for benchstat). The peers run in the Python that runs this. The second compares by benchstat (golang.org/x/perf): BASE is a commit, which is built and run in turns with this tree, or a file of saved runs. Slower counts where p < 0.01 and the
median has grown by more than 25 %, against a file beyond what all benchmarks together have, since the machine may be slower today."""
import argparse, collections, csv, importlib.metadata, importlib.util, io, math, os, re, shutil, statistics, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..")
BENCHSTAT = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"
LINE = re.compile(r"^Benchmark(\w+)/(\S+)\s+\d+\s+([\d.]+) ns/op\s+([\d.]+) MB/s\s+(\d+) B/op")
PEERS = [  # title, script, arguments
    ("Pruning from file to file, against onnxsim and Torch-Pruning", "prune.py", ["3"], "Whole processes, measured in turns. The ratio is to `metaprune prune`. Memory is the peak resident set with mapped pages. Details: [prune-speed.md](prune-speed.md)."),
    ("The metanetwork's forward pass, against PyTorch Geometric", "metanet.py", ["--runs", "3"], "Both use the same graph and weights. Loading and saving are not included. The fastest run counts. Details: [metanet-speed.md](metanet-speed.md)."),
    ("Training, against PyTorch", "train.py", ["--rounds", "3", "--images", "6400"], "Images per second of a ResNet-20, measured in turns. A ratio below 1 means that metaprune is slower than PyTorch. Details: [train-speed.md](train-speed.md)."),
]
LIMIT = 1.25


def run(command, **environment):
    r = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})
    if r.returncode: sys.exit(f"{' '.join(command)}\n{r.stdout}{r.stderr}")
    return r.stdout


def bench(count, only, wasm=False):
    command = ["go", "test", "./bench/stages", "-run", "xxx", "-bench", only, "-benchtime", "0.3s", "-count", str(count), "-timeout", "60m"]
    if not wasm: return run(command)
    root = run(["go", "env", "GOROOT"]).strip()
    return run(command + ["-exec", f"{root}/lib/wasm/go_js_wasm_exec"], GOOS="js", GOARCH="wasm", GOEXPERIMENT="")


def plain(ms):
    """Three digits, without an exponent."""
    return f"{ms:.3g}" if ms < 1000 else f"{float(f'{ms:.3g}'):.0f}"


def wasm_table():
    """Stages as WebAssembly in node, which has one thread, against one native thread, in one run each."""
    big = "(resnet50-1|vit-1)$"
    there = parse(bench(1, f".*/{big}", wasm=True), 1)[0]
    here = parse(run(["go", "test", "./bench/stages", "-run", "xxx", "-bench", f".*/{big}", "-benchtime", "0.3s"], GOMAXPROCS="1"), 1)[0]
    out = ["| stage | model | native, one thread, ms | WebAssembly, ms | ratio |", "|---|---|---|---|---|"]
    for key in here:
        if key not in there: continue
        a, b = (1000 * statistics.median(t for t, _ in runs[key]) for runs in (here, there))
        out.append(f"| {key[0].lower()} | {key[1]} | {plain(a)} | {plain(b)} | {b / a:.1f}x |")
    return out


def api_table():
    """/v1/masks against the same work in the process, each in turn."""
    out = ["| model | in the process, ms | `/v1/masks`, ms | ratio |", "|---|---|---|---|"]
    for path in ("testdata/fashion-resnet20.onnx", "bench/models/resnet50.onnx"):
        if not os.path.exists(os.path.join(ROOT, path)): continue
        text = run(["go", "test", "./native/server", "-run", "xxx", "-bench", "Masks", "-benchtime", "1s", "-count", "5"], METAPRUNE_MODEL=os.path.abspath(os.path.join(ROOT, path)))
        own, http = (statistics.median(float(x) / 1e6 for x in re.findall(rf"BenchmarkMasks/{k}-\d+\s+\d+\s+([\d.]+) ns/op", text)) for k in ("own", "http"))
        out.append(f"| {os.path.basename(path)[:-5]} | {own:.2f} | {http:.2f} | {http / own:.2f}x |")
    return out


def peers():
    """Runs every peer's benchmark: title, what is said of it, the table."""
    out = []
    for title, script, arguments, says in PEERS:
        print("running", script, file=sys.stderr, flush=True)
        out.append((title, says, [l for l in run([sys.executable, os.path.join(HERE, script), *arguments]).splitlines() if l.startswith("|")]))
    return out


def bars(rows, path):
    """Seconds by tool and model, logarithmic, of the table of prune.py."""
    cells = [[c.strip() for c in r.strip("|").split("|")] for r in rows[2:]]
    cells = [c for c in cells if len(c) >= 4 and re.fullmatch(r"[\d.]+", c[2])]
    x = lambda s: 260 + 380 * (math.log10(max(s, .02)) + 2) / 4
    height = 40 + 20 * len(cells)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" font-family="sans-serif" font-size="12"><rect width="720" height="{height}" fill="#fff"/>']
    for i, c in enumerate(cells):
        y, colour = 14 + 20 * i, "#3ca951" if c[1].startswith("metaprune") else "#9aa4b2"
        out.append(f'<text x="254" y="{y + 11}" text-anchor="end">{c[0]}: {c[1]}</text><rect x="260" y="{y}" width="{x(float(c[2])) - 260:.0f}" height="14" fill="{colour}"/><text x="{x(float(c[2])) + 5:.0f}" y="{y + 11}">{c[2]} s</text>')
    out.append(f'<text x="450" y="{height - 8}" text-anchor="middle" fill="#555">seconds from file to file, logarithmic</text></svg>')
    open(path, "w").write("\n".join(out) + "\n")



def parse(text, threads=os.cpu_count()):
    """Seconds by stage and model; megabytes by model; allocated bytes. Go puts the number of threads behind a name, but for one."""
    suffix = f"-{threads}" if threads > 1 else ""
    runs, sizes = collections.defaultdict(list), {}
    for line in text.splitlines():
        if m := LINE.match(line):
            ns = float(m[3])
            model = m[2].removesuffix(suffix)
            runs[m[1], model].append((ns / 1e9, int(m[5])))
            sizes[model] = float(m[4]) * ns / 1e9
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


def conclusion(runs, sections):
    cells = [[[c.strip() for c in row.strip("|").split("|")] for row in table[2:]] for _, _, table in sections]
    ms = lambda stage: 1000 * statistics.median(t for t, _ in runs[stage, "resnet50-1"])
    names = {s.lower(): s for s, _ in runs}
    out = ["- A ResNet-50 takes " + ", ".join(f"{ms(names[s]):.0f} ms to {s}" for s in ("inspect", "score", "plan", "apply") if (names.get(s), "resnet50-1") in runs) + "."]
    for (title, _, _), rows in zip(sections, cells):
        if title.startswith("Pruning"):
            ratios = [float(r[3].rstrip("x")) for r in rows if not r[1].startswith("metaprune") and re.fullmatch(r"[\d.]+x", r[3])]
            out.append(f"- From file to file, metaprune is {min(ratios):.0f} to {max(ratios):.0f} times as fast as onnxsim and Torch-Pruning.")
        if title.startswith("Training"): out.append(f"- Training runs at {100 * float(rows[-1][3]):.0f} % of PyTorch's speed.")
    return out


def page(runs, sizes, name, count, sections):
    spread = lambda v: f"{plain(statistics.median(v) * 1000)} ± {100 * (max(v) - min(v)) / 2 / statistics.median(v):.0f} %"
    versions = ", ".join([run(["go", "env", "GOVERSION"]).strip(), *(f"{p} {importlib.metadata.version(p)}" for p in ("torch", "torch-geometric", "torch-pruning", "onnxsim") if importlib.util.find_spec(p.replace("-", "_")))])
    out = ["# Performance", *conclusion(runs, sections), "", f"`make bench` measures everything on this page, one measurement after the other, on two cores ({versions}). `make bench-compare BASE=...` compares with a commit or with saved runs, and fails if a stage has become slower.", "",
           "## Every stage, over models of growing size", f"Milliseconds are the median of {count} runs, plus or minus half the range between the fastest and the slowest. Files are in memory.", "",
           f"![seconds over file size]({os.path.basename(name)}.svg)", "", "| stage | model | MB | ms | MB allocated |", "|---|---|---|---|---|"]
    for (stage, model), v in runs.items():
        out.append(f"| {stage.lower()} | {model} | {sizes[model]:.1f} | {spread([t for t, _ in v])} | {statistics.median(b for _, b in v) / 1e6:.1f} |")
    out += ["", "| stage | what it does |", "|---|---|", "| inspect | decodes and analyses the model |", "| score | computes group L2 |", "| plan | chooses channels for 2x from given scores |", "| apply | removes the channels, analyses the result and encodes it |", "| graph | converts the model to its parameter graph and back |", "| metanet | makes a plan with the built-in metanetwork |", ""]
    for title, says, table in sections:
        out += [f"## {title}", says, "", *table, ""]
    out += ["Tests measure the page in a browser ([site.md](../site.md)), and the worker at the edge and a service under load ([serving.md](../serving.md)).", ""]
    open(name + ".md", "w").write("\n".join(out))


def sections(without, name):
    out = []
    if "peers" not in without:
        out += peers()
        bars(out[0][2], name + "-peers.svg")
        title, says, table = out[0]
        out[0] = title, f"{says}\n\n![seconds by tool]({os.path.basename(name)}-peers.svg)", table
    if "wasm" not in without: out.append(("As WebAssembly", "The same stages as WebAssembly in node, and as one native thread. One run each, of 0.3 s or more.", wasm_table()))
    if "api" not in without: out.append(("Over HTTP", "`/v1/masks` at 2x, with the time to send the model, and the same work in the process. Medians of 5 runs. Details: [serving.md](../serving.md).", api_table()))
    return out


def alternately(ref, count, only):
    """Runs of the tree at a commit and of this one, in turns, so that both meet the same machine."""
    with tempfile.TemporaryDirectory() as folder:
        tree = folder + "/tree"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", tree, ref], cwd=ROOT, check=True)
        try:
            shutil.copytree(os.path.join(ROOT, "bench/stages"), tree + "/bench/stages", dirs_exist_ok=True)
            def build(where, name, **more): return subprocess.run(["go", "test", "-c", "-o", f"{folder}/{name}", "./bench/stages"], cwd=where, **more)
            if build(tree, "old", capture_output=True).returncode:  # packages were called otherwise there: take the stages of that commit
                subprocess.run(["git", "checkout", "-q", "--", "bench/stages"], cwd=tree, check=True)
                build(tree, "old", check=True)
            build(ROOT, "new", check=True)
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
    p.add_argument("--count", type=int, default=5); p.add_argument("--without", default="", help="parts to leave out: peers, wasm, api"); p.add_argument("--only", default="."); p.add_argument("--page", default="docs/results/performance"); p.add_argument("--compare")
    a = p.parse_args()
    if a.compare and not os.path.isfile(a.compare): return compare(*alternately(a.compare, a.count, a.only), drift=1)
    text = bench(a.count, a.only)
    if a.compare: return compare(open(a.compare).read(), text)
    runs, sizes = parse(text)
    open(a.page + ".txt", "w").write(text)
    picture(runs, sizes, a.page + ".svg")
    page(runs, sizes, a.page, a.count, sections(a.without.split(","), a.page))


if __name__ == "__main__":
    main()
