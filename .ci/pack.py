#!/usr/bin/env python3
"""Packs programs: an archive and a Python wheel for each platform, and an archive of the worker for the edge.

    .ci/pack.py --version v0.2.0 --time SECONDS --licences FILE --out FOLDER [PLATFORM=PROGRAM ...] [--edge FOLDER]

PLATFORM is such as linux-amd64 (static) or linux-amd64-glibc. Every file gets the given time, so the same programs make the same bytes."""
import argparse, os
from concurrent.futures import ProcessPoolExecutor

import wheel
from reproducible import tar_gz, zip_file


BUILD = b'[build]\ncommand = "make -C ../.. edge"\n\n'


def read(path):
    with open(path, "rb") as f:
        return f.read()


def archive(folder, platform, program, files, version, seconds):
    """The program beside its texts, in a folder of the archive's name: zip for Windows, tar.gz elsewhere."""
    name = f"metaprune-{version}-{platform}"
    windows = platform.startswith("windows")
    entries = [(f"{name}/{n}", c, False) for n, c in files.items()]
    entries.append((f"{name}/metaprune" + (".exe" if windows else ""), program, True))
    path = os.path.join(folder, name + (".zip" if windows else ".tar.gz"))
    (zip_file if windows else tar_gz)(path, sorted(entries), seconds)
    return path


def edge(folder, source, version, seconds):
    name = f"metaprune-{version}-edge"
    entries = [(f"{name}/build/{n}", read(os.path.join(source, n)), False) for n in os.listdir(source)]
    settings = read("wasm/edge/wrangler.toml")
    if BUILD not in settings:
        raise SystemExit(f"wasm/edge/wrangler.toml lacks {BUILD!r}, which is left out of the archive: the worker is built there already")
    entries.append((f"{name}/wrangler.toml", settings.replace(BUILD, b""), False))
    path = os.path.join(folder, name + ".tar.gz")
    tar_gz(path, entries, seconds)
    return path


def pack(make, platform, program, args, files):
    return make(args.out, platform, read(program), files, args.version, args.time)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--version", required=True)
    p.add_argument("--time", type=int, required=True)
    p.add_argument("--licences", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--edge")
    p.add_argument("programs", nargs="*")
    a = p.parse_args()
    files = {"README.md": read("native/metaprune/README.md"), "LICENSE": read("LICENSE"), "licences.txt": read(a.licences)}
    with ProcessPoolExecutor() as pool:
        jobs = [pool.submit(pack, make, *p.split("=", 1), a, files) for p in a.programs for make in (archive, wheel.build)]
        if a.edge:
            jobs.append(pool.submit(edge, a.out, a.edge, a.version, a.time))
        for j in jobs:
            print(j.result())


if __name__ == "__main__":
    main()
