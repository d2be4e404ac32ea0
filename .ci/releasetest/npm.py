"""The npm package: contents, version, types; installed in an empty folder, with the README's programs run in Node."""
import json, os, re, shutil, tarfile

from checks import MODEL, contents, run, want

FILES = ["LICENSE", "README.md", "package.json", "index.js", "index.d.ts", "worker.js", "node.js", "node-worker.js", "wasm_exec.js", "metaprune.wasm", "runtime.js", "runtime.d.ts", "run-samples.js", "run-samples.d.ts"]
SAMPLES = "testdata/fashion-train-100-images-idx3-ubyte.gz"


def path_of(folder, version):
    return os.path.abspath(os.path.join(folder, f"metaprune-{version}-npm.tgz"))


def check(folder, version):
    with tarfile.open(path_of(folder, version)) as t:
        names = t.getnames()
        package = json.load(t.extractfile("package/package.json"))
    want(sorted(names), sorted("package/" + f for f in FILES), "files in the npm package")
    want(package["version"], version.removeprefix("v"), "version of the npm package")


def programs(readme):
    """The JavaScript of the README."""
    return re.findall(r"```js\n(.*?)```", readme, re.S)


def use(folder, version, work, pruned, repair):
    there = os.path.join(work, "npm")
    os.mkdir(there)
    with open(os.path.join(there, "package.json"), "w") as f:
        f.write('{"private": true, "type": "module"}')
    run("npm", "install", "--offline", "--no-audit", "--no-fund", "--silent", path_of(folder, version), cwd=there)
    installed = contents(os.path.join(there, "node_modules/metaprune/README.md")).decode()
    shutil.copy(MODEL, os.path.join(there, "model.onnx"))
    first, _, repaired = programs(installed)[:3]
    node(there, first)
    want(contents(os.path.join(there, "smaller.onnx")) == pruned, True, "the npm package prunes to the bytes of the archive's program")
    types(there, first)
    if repair:
        use_repair(there, repaired, pruned)


def node(there, program):
    with open(os.path.join(there, "program.mjs"), "w") as f:
        f.write(program)
    return run("node", "program.mjs", cwd=there)


def types(there, program):
    """Compiles the program with the package's types, where the page's TypeScript is installed."""
    compiler = os.path.abspath("site/node_modules/.bin/tsc")
    if not os.path.exists(compiler):
        return print("note: site/node_modules has no TypeScript; the npm package's types are not compiled")
    with open(os.path.join(there, "program.mts"), "w") as f:
        f.write(re.sub(r"import .* from \"node:.*\n", "declare function readFile(p: string): Promise<Uint8Array>; declare function writeFile(p: string, b: Uint8Array): Promise<void>;\n", program))
    run(compiler, "--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom", "program.mts", cwd=there)


def use_repair(there, program, pruned):
    """Repairs with the page's ONNX Runtime Web as the package's peer."""
    for n in os.listdir("site/node_modules"):
        if n != "metaprune" and not n.startswith("."):
            os.symlink(os.path.abspath(os.path.join("site/node_modules", n)), os.path.join(there, "node_modules", n))
    shutil.copy(SAMPLES, os.path.join(there, "samples.gz"))
    node(there, """import { readFile, writeFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { Pruner } from "metaprune";
const file = await readFile("model.onnx");
const data = Float32Array.from(gunzipSync(await readFile("samples.gz")).subarray(16), (pixel) => (pixel / 255 - 0.286) / 0.353);
""" + program + """
if (repaired.method !== "solve" || repaired.after.cosine < 0.95) throw new Error(`repair: ${JSON.stringify(repaired)}`);
await writeFile("repaired.onnx", smaller);
await pruner.close();
""")
    repaired = contents(os.path.join(there, "repaired.onnx"))
    want(repaired != pruned and len(repaired) > 1000, True, "the repaired model has other weights than the pruned one")
