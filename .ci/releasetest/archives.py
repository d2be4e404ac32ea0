"""Archives: contents, formats of the programs, checksums, SBOM; unpacked and run; the same bytes when packed again."""
import hashlib, json, os, re, struct, tarfile, zipfile

from checks import contents, pruned_by, run, want

MACHINES = {  # format and processor, as the program's header says them
    "linux-amd64": ("ELF", 62), "linux-arm64": ("ELF", 183), "linux-amd64-glibc": ("ELF", 62), "linux-arm64-glibc": ("ELF", 183),
    "darwin-amd64": ("Mach-O", 0x01000007), "darwin-arm64": ("Mach-O", 0x0100000C),
    "windows-amd64": ("PE", 0x8664), "windows-arm64": ("PE", 0xAA64),
}


def header(program):
    if program[:4] == b"\x7fELF":
        return "ELF", struct.unpack_from("<H", program, 18)[0]
    if program[:4] == b"\xcf\xfa\xed\xfe":
        return "Mach-O", struct.unpack_from("<I", program, 4)[0]
    if program[:2] == b"MZ":
        at = struct.unpack_from("<I", program, 60)[0]
        want(program[at:at + 4], b"PE\0\0", "signature of the Windows program")
        return "PE", struct.unpack_from("<H", program, at + 4)[0]
    return program[:4], None


def path_of(folder, version, platform):
    return os.path.join(folder, f"metaprune-{version}-{platform}" + (".zip" if platform.startswith("windows") else ".tar.gz"))


def entries(path):
    """name: (contents, mode)"""
    if path.endswith(".zip"):
        with zipfile.ZipFile(path) as z:
            return {i.filename: (z.read(i), i.external_attr >> 16 & 0o777) for i in z.infolist()}
    with tarfile.open(path) as t:
        return {m.name: (t.extractfile(m).read(), m.mode) for m in t.getmembers()}


def check(folder, version, platform):
    """Looks at the archive of a platform and returns its program."""
    path, root = path_of(folder, version, platform), f"metaprune-{version}-{platform}"
    command = f"{root}/metaprune" + (".exe" if platform.startswith("windows") else "")
    found = entries(path)
    want(sorted(found), sorted([command] + [f"{root}/{n}" for n in ("LICENSE", "README.md", "licences.txt")]), f"contents of {path}")
    for name, (data, mode) in found.items():
        want(mode, 0o755 if name == command else 0o644, f"mode of {name}")
        want(len(data) > 500, True, f"{name} has more than 500 bytes")
    want(header(found[command][0]), MACHINES[platform], f"format of {command}")
    return found[command][0]


def linked(platform, program):
    """Linux: the static program asks for no loader, the other one for no younger glibc than its wheel's tag says."""
    if not platform.startswith("linux"):
        return
    at, size, count = struct.unpack_from("<Q", program, 32)[0], *struct.unpack_from("<HH", program, 54)
    loader = 3 in (struct.unpack_from("<I", program, at + i * size)[0] for i in range(count))  # PT_INTERP
    want(loader, platform.endswith("-glibc"), f"the program for {platform} asks for a loader")
    versions = {tuple(int(n) for n in v.split(b".")) for v in re.findall(rb"\0GLIBC_([0-9.]+)(?=\0)", program)}
    want([v for v in versions if v > (2, 17)], [], f"versions of glibc above 2.17 that the program for {platform} asks for")


def use(folder, version, platform, work):
    """Unpacks the archive as a user does, and prunes."""
    path = path_of(folder, version, platform)
    run("tar", "-xzf", os.path.abspath(path), cwd=work)
    return pruned_by(os.path.join(work, f"metaprune-{version}-{platform}", "metaprune"), os.path.join(work, "archive.onnx"), version)


def repeat(work):
    """Packs small files twice, with other times, rights and names of folders."""
    made = []
    for n, mode in ("first", 0o700), ("second", 0o777):
        folder = os.path.join(work, n)
        os.mkdir(folder)
        programs = []
        for p in MACHINES:
            file = os.path.join(folder, p)
            with open(file, "w") as f:
                f.write(p)
            os.chmod(file, mode)
            os.utime(file, (len(made) * 1e6 + 1e9,) * 2)
            programs.append(f"{p}={file}")
        run(".ci/pack.py", "--version", "v1.2.3", "--time", "1800000000", "--licences", "LICENSE", "--out", folder, *programs)
        made.append({f: hashlib.sha256(contents(os.path.join(folder, f))).hexdigest() for f in os.listdir(folder) if f not in MACHINES})
    want(len(made[0]), 2 * len(MACHINES), "archives and wheels")
    want(made[1], made[0], "hashes of archives packed again")


def checksums(folder):
    listed = {}
    for line in contents(os.path.join(folder, "SHA256SUMS")).decode().splitlines():
        digest, name = line.split("  ")
        listed[name] = digest
    there = {n: hashlib.sha256(contents(os.path.join(folder, n))).hexdigest() for n in os.listdir(folder) if n != "SHA256SUMS"}
    want(listed, there, "SHA256SUMS")


def sbom(folder, version):
    bom = json.loads(contents(os.path.join(folder, f"metaprune-{version}-sbom.json")))
    want(bom["bomFormat"], "CycloneDX", "format of the SBOM")
    want(bom["metadata"]["component"]["version"], version, "version in the SBOM")
    want(len(bom["components"]) > 50, True, "the SBOM names more than 50 modules")


def edge_and_page(folder, version):
    edge = entries(os.path.join(folder, f"metaprune-{version}-edge.tar.gz"))
    root = f"metaprune-{version}-edge"
    want(sorted(edge), sorted(f"{root}/{n}" for n in ("build/metaprune.wasm", "build/wasm_exec.js", "build/worker.mjs", "wrangler.toml")), "contents of the worker's archive")
    want(edge[f"{root}/build/metaprune.wasm"][0][:4], b"\0asm", "format of the worker's program")
    want(b"[build]" in edge[f"{root}/wrangler.toml"][0], False, "wrangler.toml builds anew")
    with tarfile.open(os.path.join(folder, f"metaprune-{version}-site.tar.gz")) as t:
        names = t.getnames()
    for n in "dist/index.html", "dist/metaprune/metaprune.wasm", "dist/metaprune/worker.js", "dist/runtime.js":
        want(n in names, True, f"the page's archive holds {n}")
