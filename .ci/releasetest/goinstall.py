"""`go install` of a tagged commit: the module can be fetched, and the program says its version."""
import os

from checks import pruned_by, run, want

MODULE = "github.com/metaprune/metaprune"


def check(work, pruned):
    version = run(".ci/version").split("+")[0].strip()
    clone = os.path.join(work, "clone")
    run("git", "clone", "--quiet", "--bare", ".", clone)
    run("git", "-C", clone, "tag", "--force", version, run("git", "rev-parse", "HEAD").strip())
    cache = run("go", "env", "GOMODCACHE").strip()
    env = {
        # the clone stands for GitHub, the machine's modules for the proxy; nothing is added to them
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{clone}.insteadOf", "GIT_CONFIG_VALUE_0": f"https://{MODULE}",
        "GOPRIVATE": MODULE, "GOPROXY": f"file://{cache}/cache/download," + run("go", "env", "GOPROXY").strip(),
        "GOMODCACHE": os.path.join(work, "modules"), "GOFLAGS": "-modcacherw -trimpath", "GOBIN": work, "GOSUMDB": "off", "GOTOOLCHAIN": "local",
    }
    run("go", "install", f"{MODULE}/native/metaprune@{version}", cwd=work, env=env)
    want(pruned_by(os.path.join(work, "metaprune"), os.path.join(work, "installed.onnx"), version) == pruned, True, "the program of `go install` prunes to the bytes of the archive's")
