"""Wheels: contents, record, tags; chosen by pip for each platform, installed in an empty environment and run."""
import base64, csv, hashlib, io, os, sys, zipfile
from glob import glob

from checks import pruned_by, run, want

PLATFORMS = {  # what pip asks for there; for macOS it also takes wheels of older versions
    "linux-amd64": ["musllinux_1_1_x86_64"], "linux-arm64": ["musllinux_1_1_aarch64"],
    "linux-amd64-glibc": ["manylinux2014_x86_64", "manylinux_2_17_x86_64"],
    "linux-arm64-glibc": ["manylinux2014_aarch64", "manylinux_2_17_aarch64"],
    "darwin-amd64": ["macosx_14_0_x86_64"], "darwin-arm64": ["macosx_15_0_arm64"],
    "windows-amd64": ["win_amd64"], "windows-arm64": ["win_arm64"],
}
KEYS = {"linux-amd64": "musllinux_1_1_x86_64", "linux-arm64": "musllinux_1_1_aarch64", "linux-amd64-glibc": "manylinux2014_x86_64", "linux-arm64-glibc": "manylinux2014_aarch64", "darwin-amd64": "macosx_12_0_x86_64", "darwin-arm64": "macosx_12_0_arm64", "windows-amd64": "win_amd64", "windows-arm64": "win_arm64"}


def path_of(folder, version, platform):
    found = glob(os.path.join(folder, f"metaprune-{version.removeprefix('v')}-py3-none-*{KEYS[platform]}*.whl"))
    want(len(found), 1, f"wheels of {platform}")
    return found[0]


def check(folder, version, platform, program):
    path = path_of(folder, version, platform)
    with zipfile.ZipFile(path) as z:
        files = {i.filename: z.read(i) for i in z.infolist()}
        modes = {i.filename: i.external_attr >> 16 & 0o777 for i in z.infolist()}
    name = f"metaprune-{version.removeprefix('v')}"
    command = f"{name}.data/scripts/metaprune" + (".exe" if platform.startswith("windows") else "")
    want(files.get(command) == program, True, f"the program in {path} is the one of the archive")
    want(modes[command], 0o755, f"mode of {command}")
    record(files, f"{name}.dist-info/RECORD")
    tags = sorted(l.removeprefix("Tag: ") for l in files[f"{name}.dist-info/WHEEL"].decode().splitlines() if l.startswith("Tag: "))
    want(tags, sorted(f"py3-none-{t}" for t in os.path.basename(path).removesuffix(".whl").split("-")[-1].split(".")), f"tags in {path}")
    want(f"\nVersion: {version.removeprefix('v')}\n" in files[f"{name}.dist-info/METADATA"].decode(), True, f"METADATA of {path} has the version")


def record(files, name):
    rows = {r[0]: r[1:] for r in csv.reader(io.StringIO(files[name].decode()))}
    want(sorted(rows), sorted(files), f"files in {name}")
    for n, data in files.items():
        if n != name:
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            want(rows[n], [f"sha256={digest}", str(len(data))], f"{n} in {name}")


def use(folder, version, host, work, pruned):
    """Installs the wheel without an index, prunes, and uninstalls."""
    env = os.path.join(work, "venv")
    run(sys.executable, "-m", "venv", env)
    python, command = os.path.join(env, "bin", "python"), os.path.join(env, "bin", "metaprune")
    offline = ["--no-index", "--disable-pip-version-check", "--find-links", os.path.abspath(folder)]
    wanted = f"metaprune=={version.removeprefix('v')}"
    run(python, "-m", "pip", "install", "--quiet", *offline, wanted)
    want(pruned_by(command, os.path.join(work, "wheel.onnx"), version) == pruned, True, "the wheel's program prunes to the bytes of the archive's")
    chosen(folder, version, host, python, offline, wanted, work)
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "metaprune")
    want(os.path.exists(command), False, "the command is there after pip uninstall")


def chosen(folder, version, host, python, offline, wanted, work):
    """pip takes the wheel of each platform that there is one for."""
    for platform, tags in PLATFORMS.items():
        if not platform.startswith(host) and len(glob(os.path.join(folder, "*.whl"))) <= 2:  # a quick test has this machine's alone
            continue
        for tag in tags:
            to = os.path.join(work, tag)
            run(python, "-m", "pip", "download", "--quiet", *offline, "--no-deps", "--only-binary", ":all:", "--platform", tag, "--dest", to, wanted)
            want(os.listdir(to), [os.path.basename(path_of(folder, version, platform))], f"wheel that pip takes on {tag}")
