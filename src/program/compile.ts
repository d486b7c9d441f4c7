import type { AgentConfig } from "../model/config.ts";
import type { DestinationGroup, Policy } from "../model/policy.ts";
import type { Workload } from "../model/workload.ts";
import type { ProgramData } from "./layout.ts";

export interface CompileInput {
  readonly epoch: number;
  readonly policies: readonly Policy[];
  readonly groups: readonly DestinationGroup[];
  readonly workloads: readonly Workload[];
  readonly config: AgentConfig;
}

/** Compiles one epoch. Pure; the result is structured-cloneable and its buffers are shared, never copied, by postMessage. */
export function compileProgram(_input: CompileInput): ProgramData {
  throw new Error("not built yet");
}
