export interface Layer { node: string; op: string; macs: number; params: number; shape: string }
export interface Member { tensor: string; axis: number; role: string }
export interface Group { name: string; units: number; frozen?: string; macs: number; members: Member[] }
/** What a model consists of. */
export interface Report {
  ir_version: number; opset: Record<string, number>; producer: string; nodes: number; file_bytes: number;
  inputs: string[]; outputs: string[]; macs: number; params: number; bytes: number; peak_activation_bytes: number; prunable_units: number;
  layers: Layer[] | null; groups: Group[] | null; operators_without_rule?: Record<string, number>;
}
/** Exactly one of these, unless a pattern of zeros is asked for. */
export interface Target { speed_up?: number; params?: number; bytes?: number; ratio?: number }
export interface Options {
  target?: Target; criterion?: "l2" | "l1" | "bn" | "random" | "metanet"; reduction?: "mean" | "sum" | "max" | "first"; normalizer?: "mean" | "max" | "none" | "original";
  ranking?: "global" | "group" | "isomorphic"; pattern?: string; sparsity?: number; steps?: number; round_to?: number; max_ratio?: number; ignore?: string[]; seed?: number;
}
export interface PlanGroup { name: string; size: number; removed: number[] | null }
/** A plan: `plan` is the file that the command line replays to the same bytes. */
export interface Plan { plan: string; macs: [number, number]; params: [number, number]; bytes: [number, number]; groups: PlanGroup[] | null; zeros: boolean }
export interface Progress { what: string; done: number; total: number }
export interface Control { signal?: AbortSignal; onProgress?: (progress: Progress) => void }
/** The largest file that is taken, in bytes. */
export const maxBytes: number;
export class PruneError extends Error { place: string }
export class Pruner {
  constructor(options?: { workerURL?: string | URL });
  open(file: Blob | ArrayBuffer | Uint8Array, control?: Control): Promise<Report>;
  estimate(size: number): Promise<number>;
  score(options?: Options, control?: Control): Promise<void>;
  plan(options: Options, control?: Control): Promise<Plan>;
  apply(plan: string, control?: Control): Promise<Uint8Array>;
  memory(): Promise<number>;
  close(): void;
}
