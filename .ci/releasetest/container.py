"""The container file: read as a builder reads it, and built where this machine has a builder."""
import json, os, shutil, subprocess

from archives import entries, path_of
from checks import contents, run, want

FILE = "docs/deploy/Dockerfile"
KNOWN = {"FROM", "ARG", "ADD", "COPY", "LABEL", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}


def instructions(version, arch):
    """[(name, rest)] with the arguments put in; comments are left out."""
    lines = [l for l in contents(FILE).decode().replace("\\\n", " ").splitlines() if l.strip() and not l.startswith("#")]
    split = [l.split(None, 1) for l in lines]
    return [(name, rest.replace("${VERSION}", version).replace("${TARGETARCH}", arch)) for name, rest in split]


def check(folder, version, host):
    arch = host.split("-")[1]
    steps = instructions(version, arch)
    want({n for n, _ in steps} - KNOWN, set(), f"instructions of {FILE} that the test does not know")
    archive, to = next(rest for n, rest in steps if n == "ADD").split()
    want(to, "/", "where the archive is unpacked")
    want(archive, os.path.basename(path_of("", version, f"linux-{arch}")), f"archive that {FILE} adds")
    last = max(i for i, (n, _) in enumerate(steps) if n == "FROM")
    stage = dict(steps[last:])
    source, target = stage["COPY"].split()[1:]
    command = json.loads(stage["ENTRYPOINT"])[0]
    user = stage["USER"].split(":")[0]
    want(user.isdigit() and int(user) > 0, True, f"USER {user} is a number above 0, as Kubernetes wants to see")
    want(json.loads(stage["CMD"])[0], "serve", "command of the image")
    if host.startswith("linux"):
        copied = {target + n.removeprefix(source.lstrip("/")): mode for n, (_, mode) in entries(path_of(folder, version, host)).items()}
        want(copied.get(command), 0o755, f"mode of {command} in the image")
    ignored = contents(FILE + ".dockerignore").decode().split()
    want(ignored[-1], "!metaprune-*-linux-*.tar.gz", "what the builder reads of the folder")
    build(folder, version)


def build(folder, version):
    for tool, alive in ("docker", ["docker", "info"]), ("podman", ["podman", "info"]), ("buildah", ["buildah", "info"]):
        if shutil.which(tool) and subprocess.run(alive, capture_output=True).returncode == 0:
            verb = "bud" if tool == "buildah" else "build"
            run(tool, verb, "-f", FILE, "--build-arg", f"VERSION={version}", "-t", "metaprune:test", folder)
            if tool != "buildah":
                said = run(tool, "run", "--rm", "metaprune:test", "version", "--json", read=True)
                want(said["metaprune"], version, "version of the image's program")
            return
    print("note: no builder of images runs here (docker, podman, buildah); the container file was read, and the program that it copies was run, but no image was built")
