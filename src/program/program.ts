import type { Address } from "../net/address.ts";
import type { ProgramData, Walk } from "./layout.ts";

/** A view of one epoch, for one thread. Rows and classes are valid for this Program only; workload ids outlive it. */
export interface Program {
  readonly epoch: number;
  readonly workloadCount: number;
  readonly classCount: number;
  readonly clusterDomain: string;
  /** The row of the workload that owns an address (unsigned words), or -1. */
  workloadAt(w0: number, w1: number, w2: number, w3: number): number;
  workloadId(row: number): number;
  classOfRow(row: number): number;
  /** The class of a workload, or -1 when this epoch does not know it. */
  classOf(workloadId: number): number;
  /** Some policy of the walk with `defaultDeny: true` selects the class: what no rule decides is denied. */
  isolated(cls: number, walk?: Walk): boolean;
  /** Some enforcing policy selects the class. */
  selected(cls: number): boolean;
  /** Some Audit policy selects the class: the walk `all` may differ from `enforce`. */
  audited(cls: number): boolean;
  /** Inside the cluster: by range, or by listed endpoint. */
  isInside(address: Address, protocol: number, port: number): boolean;
  isResolver(address: Address): boolean;
}

export function openProgram(_data: ProgramData): Program {
  throw new Error("not built yet");
}
