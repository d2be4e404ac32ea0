import { drawCurve, type Curve } from "./curve";
import { drawTiles, light, tilesOf, type Tile } from "./layers";
import { readSamples, scales } from "./samples";
import { Pruner, PruneError, type Control, type Options, type Plan, type Repair, type Report, type Samples, type Target, type Warning } from "metaprune";

const $ = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const pruner = new Pruner({ workerURL: new URL("./metaprune/worker.js", document.baseURI), runtimeURL: new URL("./runtime.js", document.baseURI) });
const large = 100e6; // bytes of a file whose memory is said before it is opened
const kept = new Set<string>(); // IDs of groups that the user keeps whole
let file: Blob | undefined;
let report: Report | undefined;
let plan: Plan | undefined;
let control: AbortController | undefined; // of what is under way
let name = "model";
let curve: Curve | undefined; // of the bundled example
let tiles: Tile[] = [];
let sizes: string[] = []; // of inputs that are counted at; none for assumed ones
let samples: Samples[] | undefined; // that were given
let mended: Repair | undefined; // of the plan
let noisy = false; // random pictures were given
let seen: Promise<void> | undefined; // criterion obs has looked at the samples, or does
let wanted = 0; // number of the newest plan that was asked for
let settled = Promise.resolve(); // when the newest plan is there

const number = (n: number) => (n >= 1e9 ? (n / 1e9).toFixed(2) + " G" : n >= 1e6 ? (n / 1e6).toFixed(2) + " M" : n >= 1e3 ? (n / 1e3).toFixed(1) + " k" : String(n));
const element = (tag: string, text = "") => Object.assign(document.createElement(tag), { textContent: text });

function say(text: string) {
  $("status").textContent = text;
}

function fail(error: unknown) {
  if (error instanceof DOMException && error.name === "AbortError") {
    say("Cancelled.");
    return;
  }
  const place = error instanceof PruneError && error.place && !error.message.includes(error.place) ? ` (${error.place})` : "";
  $("error").textContent = (error instanceof Error ? error.message : String(error)) + place;
  say("");
}

// during shows progress and the button that cancels, unless it is over in a moment.
async function during<T>(what: string, work: (c: { signal: AbortSignal; onProgress: (p: { what: string; done: number; total: number }) => void }) => Promise<T>): Promise<T> {
  const own = new AbortController();
  control = own;
  $("error").textContent = "";
  const bar = $<HTMLProgressElement>("progress");
  bar.removeAttribute("value");
  const late = setTimeout(() => {
    say(what);
    $("busy").hidden = false;
  }, 120);
  try {
    return await work({
      signal: own.signal,
      onProgress: (p) => {
        bar.max = p.total;
        bar.value = p.done;
      },
    });
  } finally {
    clearTimeout(late);
    if ($("status").textContent === what) say("");
    $("busy").hidden = true;
  }
}

async function open(chosen: Blob, title: string, measured?: Curve) {
  file = chosen;
  curve = measured;
  for (const id of ["model", "controls", "result", "groups"]) $(id).hidden = true;
  plan = undefined;
  mended = undefined;
  samples = undefined;
  noisy = false;
  seen = undefined;
  sizes = [];
  $("had").textContent = "none; random pictures are used";
  kept.clear();
  name = title.replace(/\.onnx$/i, "");
  try {
    if (chosen.size === 0) throw new PruneError(`${title} is empty.`);
    const room = chosen.size > large ? `, about ${number(await pruner.estimate(chosen.size))}B of memory` : "";
    report = await during(`Opening ${title}${room} …`, (c) => pruner.open(chosen, c));
    showModel(report);
  } catch (error) {
    fail(error);
    return;
  }
  say(`${title} is open.`);
  await replan();
}

function showModel(r: Report) {
  $("name").textContent = name;
  const rows: [string, string][] = [
    ["parameters", number(r.params)],
    ["multiply-accumulates", number(r.macs)],
    ["file", number(r.file_bytes) + "B"],
    ["opset", Object.entries(r.opset).map(([d, v]) => (d === "ai.onnx" ? String(v) : `${d} ${v}`)).join(", ")],
    ["operators", String(r.nodes)],
    ["channels that can be pruned", number(r.prunable_units)],
    ["inputs", r.inputs.join("; ")],
    ["outputs", r.outputs.join("; ")],
  ];
  if (r.producer) rows.push(["made by", r.producer]);
  if (r.operators_without_rule) rows.push(["operators without a rule", Object.keys(r.operators_without_rule).join(", ")]);
  $("card").replaceChildren(
    ...rows.map(([k, v]) => {
      const row = element("div");
      row.append(element("dt", k), element("dd", v));
      return row;
    }),
  );
  showSizes(r);
  for (const id of ["model", "controls", "groups"]) $(id).hidden = false;
  $("of").hidden = !(r.groups ?? []).some((g) => g.kind);
  if ($("of").hidden) $<HTMLSelectElement>("attention").value = "";
  showFrozen(r);
}

// showSizes says at which sizes of its free inputs the model is counted.
function showSizes(r: Report) {
  $("counted").hidden = !r.counted_at;
  if (!r.counted_at) return;
  $<HTMLInputElement>("sizes").value = Object.entries(r.counted_at.inputs).map(([input, dims]) => `${input}=${dims.join("x")}`).join("; ");
  $("assumed").textContent = r.counted_at.assumed ? "assumed; type the sizes that you use" : "";
}

// resize counts at the sizes that were typed.
async function resize() {
  const typed = $<HTMLInputElement>("sizes").value.split(/\s*;\s*/).filter((s) => s !== "");
  try {
    report = await during("Counting …", (c) => pruner.inspect({ inputs: typed }, c));
    sizes = typed;
    showModel(report);
  } catch (error) {
    fail(error);
    return;
  }
  await replan();
}

function showFrozen(r: Report) {
  const frozen = (r.groups ?? []).filter((g) => g.frozen);
  const box = $<HTMLDetailsElement>("frozen");
  box.hidden = frozen.length === 0;
  box.querySelector("summary")!.textContent = `${frozen.length === 1 ? "A group that cannot be pruned" : `${frozen.length} groups that cannot be pruned`}, with reasons`;
  box.querySelector("ul")!.replaceChildren(...frozen.map((g) => element("li", `${g.name} (${g.id}): ${g.frozen}`)));
}

// target reads the slider: evenly in the logarithm for speed-ups, evenly in the share for the others.
function target(): [Target, string] {
  const at = Number($<HTMLInputElement>("target").value) / 100;
  switch ($<HTMLSelectElement>("kind").value) {
    case "speed_up": {
      const times = Math.round(Math.pow(10, at) * 100) / 100;
      return [{ speed_up: Math.max(1.01, times) }, `${Math.max(1.01, times).toFixed(2)}x`];
    }
    case "bytes": {
      const left = Math.round((report?.file_bytes ?? 1) * (1 - at * 0.95));
      return [{ bytes: left }, `${number(left)}B`];
    }
    case "params": {
      const left = Math.round((1 - at * 0.95) * 1000) / 1000;
      return [{ params: left }, `${(100 * left).toFixed(1)} %`];
    }
    default: {
      const gone = Math.max(0.001, Math.round(at * 950) / 1000);
      return [{ ratio: gone }, `${(100 * gone).toFixed(1)} %`];
    }
  }
}

function options(): Options {
  const pattern = $<HTMLSelectElement>("pattern").value;
  const [goal, shown] = target();
  $("shown").textContent = pattern === "channels" ? shown : "half of the weights";
  $<HTMLInputElement>("target").disabled = $<HTMLSelectElement>("kind").disabled = pattern !== "channels";
  $("target").setAttribute("aria-valuetext", shown);
  const o: Options = { criterion: $<HTMLSelectElement>("criterion").value as Options["criterion"] };
  const attention = $<HTMLSelectElement>("attention").value;
  if (report?.counted_at) o.inputs = sizes;
  if (pattern === "channels" && attention !== "") o.attention = attention as Options["attention"];
  if (pattern === "channels") Object.assign(o, { target: goal, round_to: Number($<HTMLSelectElement>("round").value), ignore: ignored() });
  else Object.assign(o, { pattern, criterion: "l2" });
  return o;
}

// ignored are the groups that are kept whole.
function ignored(): string[] {
  return (report?.groups ?? []).filter((g) => kept.has(g.id)).map((g) => g.id);
}

// replan asks for a plan of what is chosen; the result is said to be busy until the newest one is there.
function replan(): Promise<void> {
  if (!report) return settled;
  const mine = ++wanted;
  const result = $("result");
  result.setAttribute("aria-busy", "true");
  settled = planned(mine).finally(() => mine === wanted && result.setAttribute("aria-busy", "false"));
  return settled;
}

// chosenPlan is the plan of what is chosen now, however lately it was.
async function chosenPlan(): Promise<Plan | undefined> {
  for (let waited = 0; waited !== wanted; ) {
    waited = wanted;
    await settled;
  }
  return plan;
}

async function planned(mine: number) {
  const asked = options();
  await new Promise((resolve) => setTimeout(resolve, 0));
  if (mine !== wanted) return; // the slider has moved on
  try {
    const p = await during("Scoring channels …", async (c) => {
      if (asked.criterion === "obs") await observe(c);
      return pruner.plan(asked, c);
    });
    if (mine !== wanted) return;
    plan = p;
    mended = undefined;
    $("mended").textContent = "";
    $<HTMLButtonElement>("repair").disabled = p.zeros;
    void pruner.memory().then((n) => (document.body.dataset.memory = String(n)));
    $("error").textContent = "";
    showPlan(p);
  } catch (error) {
    if (mine === wanted) {
      plan = undefined;
      $("result").hidden = true;
      fail(error);
    }
  }
}

// standIn gives random pictures where there are no samples, once for a model.
async function standIn(c: Control) {
  if (samples || noisy) return;
  await pruner.noise(100, 0, c);
  noisy = true;
}

// observe has the samples looked at, or random pictures where there are none, once.
async function observe(c: Control) {
  seen ??= (async () => {
    await standIn(c);
    await pruner.observe(c);
  })();
  try {
    await seen;
  } catch (error) {
    seen = undefined;
    throw error;
  }
}

function showPlan(p: Plan) {
  const rows: [string, [number, number], string][] = [
    ["multiply-accumulates", p.macs, ""],
    ["parameters", p.params, ""],
    ["weights", p.bytes, "B"],
  ];
  $("numbers").replaceChildren(
    ...rows.map(([title, [before, after], unit]) => {
      const row = element("tr");
      const head = element("th", title);
      head.setAttribute("scope", "row");
      row.append(head, element("td", number(before) + unit), element("td", number(after) + unit), element("td", `${(before / Math.max(after, 1)).toFixed(2)}x`));
      return row;
    }),
  );
  $("result").hidden = false;
  $("tried").textContent = "";
  warn(p.warnings);
  showBars(p);
  showCurve(p);
}

// warn says what to expect of the download, which is amber then.
function warn(warnings: Warning[] | null) {
  const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
  const advice = (w: Warning) => (w.code === "unrepaired" ? "give about 100 unlabelled samples below and press Repair, or finetune the downloaded model" : w.advice);
  $("warning").textContent = (warnings ?? []).map((w) => `${sentence(w.message)} ${sentence(advice(w))}`).join(" ");
  $("warning").hidden = !warnings?.length;
  $("download").classList.toggle("warned", Boolean(warnings?.length));
}

function showCurve(p: Plan) {
  $("curve").hidden = curve === undefined || p.zeros;
  if (curve && !p.zeros) $("said").textContent = drawCurve(document.querySelector<SVGSVGElement>("#picture")!, curve, p.macs[0] / Math.max(p.macs[1], 1));
}

// lightUp shows which layers a group reaches.
function lightUp(group: string | undefined) {
  const lit = light($("layers"), tiles, group);
  const name = report?.groups?.find((g) => g.id === group)?.name;
  $("lit").textContent = group === undefined ? `${tiles.length} layers` : `${name} (${group}) reaches ${lit} of ${tiles.length} layers`;
}

function showBars(p: Plan) {
  const gone = new Map((p.groups ?? []).map((g) => [g.id, g.removed?.length ?? 0]));
  const list = $("bars");
  const groups = (report?.groups ?? []).filter((g) => !g.frozen);
  while (list.children.length > groups.length) list.lastChild!.remove();
  groups.forEach((g, i) => {
    const left = g.units - (gone.get(g.id) ?? 0);
    const button = (list.children[i]?.firstChild as HTMLButtonElement | null) ?? newBar(list);
    button.dataset.group = g.id;
    button.title = [g.id, ...g.members.map((m) => m.name)].join("\n");
    button.setAttribute("aria-pressed", String(kept.has(g.id)));
    const [label, bar, count] = button.children as unknown as [HTMLElement, HTMLElement, HTMLElement];
    label.textContent = g.name;
    (bar.firstChild as HTMLElement).style.setProperty("--kept", `${(100 * left) / g.units}%`);
    count.textContent = `${left} of ${g.units}`;
  });
  tiles = tilesOf(report?.groups ?? []);
  drawTiles($("layers"), tiles, new Map(groups.map((g) => [g.id, 1 - (gone.get(g.id) ?? 0) / g.units])));
  lightUp((document.activeElement as HTMLElement | null)?.dataset?.group);
}

function newBar(list: HTMLElement): HTMLButtonElement {
  const button = element("button") as HTMLButtonElement;
  button.type = "button";
  const bar = element("span");
  bar.className = "bar";
  bar.append(element("i"));
  button.append(element("span"), bar, element("span"));
  button.addEventListener("click", () => {
    const group = button.dataset.group!;
    if (!kept.delete(group)) kept.add(group);
    void replan();
  });
  for (const event of ["mouseenter", "focus"]) button.addEventListener(event, () => lightUp(button.dataset.group));
  for (const event of ["mouseleave", "blur"]) button.addEventListener(event, () => lightUp(undefined));
  const item = element("li");
  item.append(button);
  list.append(item);
  return button;
}

function save(parts: BlobPart[], type: string, as: string) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type }));
  link.download = as;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function download() {
  const plan = await chosenPlan();
  if (!plan) return;
  const { plan: text, repaired } = mended ?? { ...plan, repaired: undefined };
  try {
    const bytes = await during("Writing the smaller model …", (c) => pruner.apply(text, c, repaired));
    document.body.dataset.memory = String(await pruner.memory());
    save([bytes as BlobPart], "application/octet-stream", `${name}-pruned.onnx`);
    say(`${name}-pruned.onnx: ${number(bytes.length)}B`);
  } catch (error) {
    fail(error);
  }
}

async function savePlan() {
  const plan = await chosenPlan();
  if (!plan) return;
  save([(mended ?? plan).plan], "application/json", "plan.json");
  if (mended?.repaired) save([mended.repaired as BlobPart], "application/octet-stream", "plan.repaired.safetensors");
}

// take reads samples that were chosen or dropped.
async function take(files: File[]) {
  if (!report || files.length === 0) return;
  const inputs = report.tensors;
  try {
    const read = await during("Reading samples …", () => readSamples(files, inputs, scales[$<HTMLSelectElement>("scale").value]!));
    const n = await pruner.give(read);
    samples = read;
    seen = undefined;
    $("had").textContent = `${n} samples` + (n < read[0]!.dims[0]! ? ` of ${read[0]!.dims[0]} (as many as fit into memory)` : "");
    $("error").textContent = "";
    if ($<HTMLSelectElement>("criterion").value === "obs") await replan();
  } catch (error) {
    fail(error);
  }
}

const percent = (share: number) => `${Math.round(100 * share)} %`;

// sentence says what a repair has done; figures on random pictures say little of real ones.
function sentence(r: Repair): string {
  const on = r.noise ? `${r.samples} random pictures` : `${r.samples} samples`;
  if (r.method === "none") return `Nothing came closer to the original than pruning alone (cosine ${r.before.cosine.toFixed(3)} on ${r.before.samples} of ${on}); the model was not changed.`;
  const [a, b] = [r.before.top1, r.after.top1];
  const top1 = a === undefined || b === undefined ? "" : `, same top-1 ${percent(a)} → ${percent(b)}`;
  const may = r.noise ? " On real samples it may be lower: give real samples and repair again." : "";
  return `Repaired on ${on}, without labels (${r.method === "solve" ? "least squares" : "moments"}): on ${r.after.samples} of them, which were held back, cosine to the original's outputs ${r.before.cosine.toFixed(3)} → ${r.after.cosine.toFixed(3)}${top1}.${may} The downloads have the repair in them.`;
}

async function repair() {
  const asked = await chosenPlan();
  if (!asked) return;
  try {
    const r = await during("Repairing …", async (c) => {
      await standIn(c);
      return pruner.repair(asked.plan, c);
    });
    document.body.dataset.memory = String(await pruner.memory());
    say("");
    if (asked !== plan) return;
    mended = r;
    warn(r.warnings);
    $("mended").textContent = sentence(r);
  } catch (error) {
    fail(error);
  }
}

interface Tried { step?: string; error?: string; before: number; after: number; cosine: number; top1: number | null; runs: number; inputs: number; engine: string }

// run compares original and smaller model in the chosen engine, in a worker that ends when it is done or cancelled.
function run(original: ArrayBuffer, smaller: ArrayBuffer, signal: AbortSignal): Promise<Tried> {
  const worker = new Worker(new URL("./try.js", document.baseURI), { type: "module" });
  return new Promise<Tried>((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    worker.addEventListener("error", (e) => reject(new Error(e.message || "the engine could not be loaded")));
    worker.addEventListener("message", ({ data }: MessageEvent<Tried>) => {
      if (data.step) say(data.step);
      else if (data.error !== undefined) reject(new Error(data.error));
      else resolve(data);
    });
    worker.postMessage({ engine: $<HTMLSelectElement>("engine").value, original, smaller, samples }, [original, smaller]);
  }).finally(() => worker.terminate());
}

async function tryBoth() {
  const plan = await chosenPlan();
  if (!plan || !file) return;
  const { plan: text, repaired } = mended ?? { ...plan, repaired: undefined };
  const original = file;
  try {
    const t = await during("Making the smaller model …", async (c) => {
      const bytes = await pruner.apply(text, c, repaired);
      return run(await original.arrayBuffer(), bytes.buffer as ArrayBuffer, c.signal);
    });
    say("");
    const top = t.top1 === null || !samples || t.inputs < 20 ? "" : `, the same top-1 on ${Math.round(100 * t.top1)} %`;
    $("tried").textContent = `On this device, in ${t.engine}: ${t.before.toFixed(1)} ms before, ${t.after.toFixed(1)} ms after, ${(t.before / t.after).toFixed(2)} times as fast (medians of ${t.runs} runs). On ${t.inputs} ${samples ? "samples" : "random inputs"} the outputs have a cosine of ${t.cosine.toFixed(3)}${top}, ${repaired ? "after the repair" : "before any repair"}.`;
  } catch (error) {
    fail(error);
  }
}

async function example(button: HTMLButtonElement) {
  const file = button.dataset.file!;
  try {
    const answer = await fetch(new URL(`./examples/${file}`, document.baseURI));
    if (!answer.ok) throw new Error(`${file}: ${answer.status} ${answer.statusText}`);
    const measured = await fetch(new URL(`./examples/${file.replace(".onnx", ".curve.json")}`, document.baseURI));
    await open(await answer.blob(), file, measured.ok ? ((await measured.json()) as Curve) : undefined);
    const pictures = await fetch(new URL(`./examples/${button.dataset.samples!}`, document.baseURI));
    if (!pictures.ok) return;
    $<HTMLSelectElement>("scale").value = "fashion";
    await take([new File([await pictures.blob()], button.dataset.samples!)]);
  } catch (error) {
    fail(error);
  }
}

$("sizes").addEventListener("change", () => void resize());
const chosen = $<HTMLInputElement>("file");
chosen.addEventListener("change", () => {
  const file = chosen.files?.[0];
  if (file) void open(file, file.name);
  chosen.value = "";
});
const drop = $("drop");
for (const [event, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]] as const) {
  drop.addEventListener(event, (e) => {
    e.preventDefault();
    drop.classList.toggle("over", over);
  });
}
drop.addEventListener("drop", (e) => {
  const file = e.dataTransfer?.files[0];
  if (file) void open(file, file.name);
});
const sampling = $<HTMLInputElement>("samples");
sampling.addEventListener("change", () => {
  void take([...(sampling.files ?? [])]);
  sampling.value = "";
});
const mending = $("mending");
for (const event of ["dragover", "drop"]) mending.addEventListener(event, (e) => e.preventDefault());
mending.addEventListener("drop", (e) => void take([...(e.dataTransfer?.files ?? [])]));
for (const id of ["target", "kind", "criterion", "pattern", "round", "attention"]) $(id).addEventListener("input", () => void replan());
$("cancel").addEventListener("click", () => {
  control?.abort();
  seen = undefined;
});
$("download").addEventListener("click", () => void download());
$("try").addEventListener("click", () => void tryBoth());
$("repair").addEventListener("click", () => void repair());
$("plan").addEventListener("click", () => void savePlan());
for (const button of document.querySelectorAll<HTMLButtonElement>("[data-file]")) button.addEventListener("click", () => void example(button));
if ("serviceWorker" in navigator) void navigator.serviceWorker.register(new URL("./sw.js", document.baseURI)).catch(() => undefined);
