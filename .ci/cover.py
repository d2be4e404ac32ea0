#!/usr/bin/env python3
"""Coverage of the portable packages by all tests together, and every stretch that no test runs.

    .ci/cover.py PROFILE [--out docs/results/coverage.md] [--least 85]

Several packages' tests run the same lines: a line counts where any of them does."""
import argparse, collections, os, sys

MODULE = "github.com/metaprune/metaprune/"


def read(path):
    """By file: {(first line, last line, columns): (statements, whether it ran)}."""
    files = collections.defaultdict(dict)
    for line in open(path):
        if line.startswith("mode:"): continue
        where, statements, count = line.rsplit(" ", 2)
        file, span = where.rsplit(":", 1)
        before = files[file.removeprefix(MODULE)].get(span, (0, False))
        files[file.removeprefix(MODULE)][span] = (int(statements), before[1] or int(count) > 0)
    return files


def stretches(spans):
    """Lines that did not run, as text."""
    lines = sorted((int(s.split(".")[0]), int(s.split(",")[1].split(".")[0])) for s, (n, ran) in spans.items() if not ran and n)
    out = []
    for a, b in lines:
        if out and a <= out[-1][1] + 1: out[-1][1] = max(out[-1][1], b)
        else: out.append([a, b])
    return ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("profile"); p.add_argument("--out", default="docs/results/coverage.md"); p.add_argument("--least", type=float, default=85)
    a = p.parse_args()
    files, packages = read(a.profile), collections.defaultdict(lambda: [0, 0])
    for file, spans in files.items():
        for n, ran in spans.values():
            packages[os.path.dirname(file)][0] += n
            packages[os.path.dirname(file)][1] += n * ran
    share = lambda x: 100 * x[1] / max(x[0], 1)
    out = ["# Coverage", "`make cover` lists the share of statements in the portable packages that a Go test runs on amd64. Tests of the page, of the worker and under WebAssembly do not count.", "", "| package | statements | covered |", "|---|---|---|"]
    out += [f"| {k} | {v[0]} | {share(v):.1f} % |" for k, v in sorted(packages.items())]
    out += ["", "## Lines that no test runs", "Most of them handle contradictory files that no test contains.", ""]
    out += [f"- `{f}`: {s}" for f, spans in sorted(files.items()) if (s := stretches(spans))]
    open(a.out, "w").write("\n".join(out) + "\n")
    for k, v in sorted(packages.items()): print(f"{k:20} {share(v):5.1f} % of {v[0]} statements")
    low = [k for k, v in packages.items() if share(v) < a.least]
    if low: sys.exit(f"below {a.least:g} %: {', '.join(low)}")


if __name__ == "__main__":
    main()
