export interface Layer { node: string; op: string; macs: number; params: number; shape: string }
/** `name` is for people: the tensor's, or the layer's node path where an exporter has numbered the tensor; `node` is the layer that reads it. */
export interface Member { tensor: string; name: string; node?: string; axis: number; role: string }
/** `id` (such as g12) and `name` tell the groups of a model apart; `ignore` takes both. */
export interface Group { id: string; name: string; units: number; frozen?: string; kind?: "heads" | "head-dim"; macs: number; members: Member[] }
/** What a model wants to be fed; a dimension below 0 is free. */
export interface Input { name: string; type: string; dims: number[] }
/** Sizes of the inputs that a model leaves free, at which its work is counted; assumed says that one of them was not given. */
export interface Counted { inputs: Record<string, number[]>; assumed: boolean }
/** What a model consists of. */
export interface Report {
  ir_version: number; opset: Record<string, number>; producer: string; nodes: number; file_bytes: number;
  inputs: string[]; outputs: string[]; macs: number; params: number; bytes: number; peak_activation_bytes: number; prunable_units: number;
  counted_at?: Counted; tensors: Input[]; layers: Layer[] | null; groups: Group[] | null; operators_without_rule?: Record<string, number>;
}
/** Exactly one of these, unless a pattern of zeros is asked for. */
export interface Target { speed_up?: number; params?: number; bytes?: number; ratio?: number; computed?: boolean }
export interface Options {
  target?: Target; criterion?: "l2" | "l1" | "bn" | "fpgm" | "random" | "metanet" | "obs"; reduction?: "mean" | "sum" | "max" | "first"; normalizer?: "mean" | "max" | "none" | "lamp" | "original" | "order";
  ranking?: "global" | "group" | "isomorphic"; pattern?: string; sparsity?: number; steps?: number; round_to?: number; max_ratio?: number; ignore?: string[]; seed?: number; attention?: "heads" | "head-dim";
  /** Sizes that work is counted at, such as "x=1x3x224x224"; without a name where there is one input. */
  inputs?: string[];
}
export interface PlanGroup { id: string; name: string; size: number; removed: number[] | null }
/** What to expect of a model and what to do about it; code "unrepaired": channels are removed and nothing is repaired, "zeros-only": zeros make neither the file smaller nor a dense runtime faster. */
export interface Warning { code: "unrepaired" | "zeros-only"; message: string; advice: string }
/** A plan: `plan` is the file that the command line replays to the same bytes. */
export interface Plan { plan: string; macs: [number, number]; params: [number, number]; bytes: [number, number]; groups: PlanGroup[] | null; zeros: boolean; counted_at?: Counted; warnings: Warning[] | null }
/** Samples of an input, [samples, ...]. */
export interface Samples { name: string; dims: number[]; data: Float32Array }
/** How much a model's outputs are like the original's: mean cosine, and the share of samples with the same largest output, which is missing on noise and on fewer than 20 samples. */
export interface Fidelity { cosine: number; top1?: number; samples: number; noise?: boolean }
/** A repaired plan; `repaired` is the file that goes beside it as plan.repaired.safetensors, missing where nothing came closer than the cut itself (method "none"). */
export interface Repair { plan: string; method: "none" | "match" | "solve"; before: Fidelity; after: Fidelity; samples: number; noise: boolean; warnings: Warning[] | null; repaired?: Uint8Array }
/** A value of a run: data are the bytes of its numbers; stacked says that samples lie one behind the other along the first axis. */
export interface Value { type: string; dims: number[]; data: Uint8Array; stacked: boolean }
/** What a runtime's module exports: runs a model's file on samples, one after the other, and returns every output. Arrays that are not stacked go to each sample whole. */
export type Run = (file: Uint8Array, feeds: (Omit<Value, "type"> & { name: string })[], samples: number) => Promise<Value[]>;
export interface Progress { what: string; done: number; total: number }
export interface Control { signal?: AbortSignal; onProgress?: (progress: Progress) => void }
/** The largest file that is taken, in bytes. */
export const maxBytes: number;
export class PruneError extends Error { place: string }
export class Pruner {
  constructor(options?: { workerURL?: string | URL; runtimeURL?: string | URL });
  open(file: Blob | ArrayBuffer | Uint8Array, control?: Control): Promise<Report>;
  estimate(size: number): Promise<number>;
  inspect(options?: Pick<Options, "inputs">, control?: Control): Promise<Report>;
  score(options?: Options, control?: Control): Promise<void>;
  plan(options: Options, control?: Control): Promise<Plan>;
  apply(plan: string, control?: Control, repaired?: Uint8Array): Promise<Uint8Array>;
  give(arrays: Samples[], control?: Control): Promise<number>;
  noise(samples?: number, seed?: number, control?: Control): Promise<number>;
  observe(control?: Control): Promise<void>;
  repair(plan: string, control?: Control): Promise<Repair>;
  memory(): Promise<number>;
  close(): void;
}
