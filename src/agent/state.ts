import { decide } from "../decide/decide.ts";
import type { LiveFlow } from "../flow/live-flows.ts";
import type { AgentConfig } from "../model/config.ts";
import type { Decision } from "../model/decision.ts";
import type { DestinationGroup, Policy } from "../model/policy.ts";
import type { Workload } from "../model/workload.ts";
import { compileProgram } from "../program/compile.ts";
import { openProgram, type Program } from "../program/program.ts";

/** What the agent is to enforce: the last good documents, and the workloads as they are. */
export interface Inputs {
  readonly policies: readonly Policy[];
  readonly groups: readonly DestinationGroup[];
  readonly config: AgentConfig;
  readonly workloads: readonly Workload[];
}

/** One compiled state of the world. */
export interface Epoch {
  readonly inputs: Inputs;
  readonly program: Program;
}

export function compileEpoch(number: number, inputs: Inputs): Epoch {
  return { inputs, program: openProgram(compileProgram({ epoch: number, ...inputs })) };
}

/**
 * Decides an open flow on a new epoch. Its address may belong to another workload by now, or to none: then nothing keeps
 * it. Null is a denial.
 */
export function redecide(program: Program, flow: LiveFlow): Decision | null {
  const { w0, w1, w2, w3 } = flow.tuple.client;
  const row = program.workloadAt(w0, w1, w2, w3);
  if (row < 0 || program.workloadId(row) !== flow.workloadId) return null;
  return decide(program, program.classOfRow(row), flow.facts, "enforce");
}
