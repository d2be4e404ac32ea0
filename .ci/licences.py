#!/usr/bin/env python3
"""Licences of everything that ends up in the program and in the page.

    .ci/licences.py SBOM.json [--list docs/third-party.md] [--texts FILE] [--check docs/third-party.md] [--release VERSION SECONDS]

Reads the CycloneDX file of the Go program and the lock file of the page. Fails where a licence is unknown or not allowed, and with --check where one is not in the list.
--release gives the SBOM its version and time, so that two builds of one commit write the same bytes."""
import argparse, glob, json, os, subprocess, sys, time

ALLOWED = {"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "FTL", "CC-BY-4.0", "0BSD"}
READ = {  # by hand, where a text is recognised as another licence than it is
    "github.com/golang/freetype": "FTL",  # FreeType licence or GPL, at choice
    "github.com/gogo/protobuf": "BSD-3-Clause",
}
SHIPPED = {"onnxruntime-web"}  # what the page's bundle takes from npm; the rest only builds and tests


def go_modules(sbom):
    out = {}
    for c in json.load(open(sbom))["components"]:
        found = [l["license"].get("id") for l in (c.get("evidence", {}).get("licenses") or c.get("licenses") or []) if "license" in l]
        name = c["name"]
        licence = READ.get(name) or ("BSD-3-Clause" if name.startswith("golang.org/x/") else found[0] if found else "unknown")
        out[name] = (c["version"], licence)
    return out


def npm_packages(lock):
    packages = json.load(open(lock))["packages"]
    wanted, queue = {}, list(SHIPPED)
    while queue:
        name = queue.pop()
        p = packages.get("node_modules/" + name)
        if p and name not in wanted:
            wanted[name] = (p["version"], p.get("license", "unknown"))
    return wanted


def listing(go, npm):
    out = ["# Third-party software", "What the program and the page are made of, besides Go itself (BSD-3-Clause). Made by `make licences`; releases carry the texts and an SBOM (CycloneDX).", "", "| module | version | licence |", "|---|---|---|"]
    out += [f"| {n} | {v} | {l} |" for n, (v, l) in sorted(go.items())]
    out += [f"| npm: {n} | {v} | {l} |" for n, (v, l) in sorted(npm.items())]
    return "\n".join(out) + "\n"


def texts(go, path):
    folders = {m["Path"]: m.get("Dir") for m in json.loads("[" + subprocess.run(["go", "list", "-m", "-json", "all"], capture_output=True, text=True, check=True).stdout.replace("}\n{", "},\n{") + "]")}
    with open(path, "w") as f:
        for name, (version, licence) in sorted(go.items()):
            f.write(f"{'=' * 100}\n{name} {version} ({licence})\n{'=' * 100}\n")
            for file in sorted(glob.glob(os.path.join(glob.escape(folders.get(name) or "?"), "[LNC][IOC][CTP]*"))):
                if os.path.isfile(file):
                    f.write(open(file, errors="replace").read() + "\n")


def release(path, version, seconds):
    with open(path) as f:
        text = f.read()
    metadata = json.loads(text)["metadata"]
    sbom = json.loads(text.replace(metadata["component"]["version"], version))
    sbom["metadata"]["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))
    for tool in sbom["metadata"]["tools"]:
        tool.pop("hashes", None)  # of the tool as this machine built it
    with open(path, "w") as f:
        json.dump(sbom, f, indent=2)
        f.write("\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("sbom"); p.add_argument("--list"); p.add_argument("--texts"); p.add_argument("--check")
    p.add_argument("--release", nargs=2, metavar=("VERSION", "SECONDS"))
    a = p.parse_args()
    go, npm = go_modules(a.sbom), npm_packages("site/package-lock.json")
    wrong = [f"{n} {v}: {l}" for n, (v, l) in (go | npm).items() if l not in ALLOWED]
    if wrong:
        sys.exit("licences that are unknown or not allowed:\n" + "\n".join(wrong))
    if a.release: release(a.sbom, *a.release)
    if a.list: open(a.list, "w").write(listing(go, npm))
    if a.texts: texts(go, a.texts)
    if a.check:
        have = set(open(a.check).read().splitlines())
        missing = [l for l in listing(go, npm).splitlines() if l not in have]
        if missing:
            sys.exit(f"{a.check} lacks these, run make licences:\n" + "\n".join(missing))
    print(f"{len(go)} Go modules, {len(npm)} npm packages, every licence allowed")


if __name__ == "__main__":
    main()
