"""Wheels that carry a program: pip puts it among the commands, and no Python code is installed."""
import base64, hashlib, os

from reproducible import zip_file

# Of glibc a program for linux-*-glibc names no version of a symbol that is younger than the tag (the release's
# test looks); pip takes it on glibc, and the static one on musl. Go asks for macOS 12.
TAGS = {
    "linux-amd64": ["musllinux_1_1_x86_64"],
    "linux-arm64": ["musllinux_1_1_aarch64"],
    "linux-amd64-glibc": ["manylinux2014_x86_64", "manylinux_2_17_x86_64"],
    "linux-arm64-glibc": ["manylinux2014_aarch64", "manylinux_2_17_aarch64"],
    "darwin-amd64": ["macosx_12_0_x86_64"],
    "darwin-arm64": ["macosx_12_0_arm64"],
    "windows-amd64": ["win_amd64"],
    "windows-arm64": ["win_arm64"],
}


def metadata(version, readme):
    return f"""Metadata-Version: 2.4
Name: metaprune
Version: {version}
Summary: Make ONNX models smaller: finds coupled channels, removes them and writes a smaller ONNX file
License-Expression: Apache-2.0
License-File: LICENSE
License-File: licences.txt
Project-URL: Homepage, https://github.com/metaprune/metaprune
Project-URL: Changelog, https://github.com/metaprune/metaprune/blob/main/CHANGELOG.md
Keywords: onnx,pruning,compression,neural-network
Requires-Python: >=3.8
Description-Content-Type: text/markdown

{readme}"""


def record_line(name, contents):
    digest = base64.urlsafe_b64encode(hashlib.sha256(contents).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(contents)}\n"


def build(folder, platform, program, files, version, seconds):
    """Writes the wheel of one platform. files has the contents of README.md, LICENSE and licences.txt."""
    version = version.removeprefix("v")
    tag = ".".join(TAGS[platform])
    name = f"metaprune-{version}"
    info = f"{name}.dist-info"
    command = "metaprune.exe" if platform.startswith("windows") else "metaprune"
    wheel = "Wheel-Version: 1.0\nGenerator: metaprune\nRoot-Is-Purelib: false\n" + "".join(f"Tag: py3-none-{t}\n" for t in TAGS[platform])
    entries = [
        (f"{name}.data/scripts/{command}", program, True),
        (f"{info}/METADATA", metadata(version, files["README.md"].decode()).encode(), False),
        (f"{info}/WHEEL", wheel.encode(), False),
        (f"{info}/licenses/LICENSE", files["LICENSE"], False),
        (f"{info}/licenses/licences.txt", files["licences.txt"], False),
    ]
    record = "".join(record_line(n, c) for n, c, _ in entries) + f"{info}/RECORD,,\n"
    entries.append((f"{info}/RECORD", record.encode(), False))
    path = os.path.join(folder, f"{name}-py3-none-{tag}.whl")
    zip_file(path, entries, seconds)
    return path
