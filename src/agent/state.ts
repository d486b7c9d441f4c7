import { decide } from "../decide/decide.ts";
import type { LiveFlow } from "../flow/live-flows.ts";
import type { AgentConfig } from "../model/config.ts";
import type { Decision } from "../model/decision.ts";
import type { DestinationGroup, Policy } from "../model/policy.ts";
import type { Workload } from "../model/workload.ts";
import type { Address } from "../net/address.ts";
import { compileProgram } from "../program/compile.ts";
import { openProgram, type Program } from "../program/program.ts";
import { type Bypass, bypassedIds } from "./bypass/bypass.ts";
import type { GroupedPod } from "./host-network/host-pods.ts";

/** Of an open flow that an earlier agent allowed, by a rule that is not known any more. */
export const REMEMBERED: Decision = Object.freeze({
  action: "Allow",
  policy: null,
  rule: null,
  reason: "RuleMatched",
});

export interface PolicyCount {
  readonly policies: number;
  /** Of them those in Audit mode. */
  readonly audited: number;
}

/** What the agent is to enforce: the last good documents, and the workloads as they are. */
export interface Inputs {
  /** All, or at least all that may select a pod of this node. */
  readonly policies: readonly Policy[];
  /** Of all policies that are in force; default: of `policies`. */
  readonly count?: PolicyCount;
  readonly groups: readonly DestinationGroup[];
  readonly config: AgentConfig;
  readonly workloads: readonly Workload[];
  /** Of this node and all others that are known: no name is ever bound to one. */
  readonly nodeAddresses: readonly Address[];
  /** Pods on the host's network, which become workloads where they can be told from the node (host-network/host-pods.ts). Default: none. */
  readonly onHost?: readonly Workload[];
  /** Those of them that can. Default: none. */
  readonly grouped?: readonly GroupedPod[];
  /** Some of them has been held since the agent began. Default: no. */
  readonly everHeld?: boolean;
  /** Default: none. */
  readonly bypasses?: readonly Bypass[];
}

export function policyCount({ policies, count }: Pick<Inputs, "policies" | "count">): PolicyCount {
  return count ?? { policies: policies.length, audited: policies.filter(({ mode }) => mode === "Audit").length };
}

/** One compiled state of the world. */
export interface Epoch {
  readonly inputs: Inputs;
  readonly program: Program;
}

export function compileEpoch(number: number, inputs: Inputs): Epoch {
  const bypassed = bypassedIds(inputs.bypasses ?? [], inputs.workloads);
  return { inputs, program: openProgram(compileProgram({ epoch: number, ...inputs, bypassed })) };
}

/**
 * Decides an open flow on a new epoch. Its address may belong to another workload by now, or to none: then nothing keeps
 * it. Null is a denial.
 */
export function redecide(program: Program, flow: LiveFlow): Decision | null {
  const { w0, w1, w2, w3 } = flow.tuple.client;
  const row = program.workloadAt(w0, w1, w2, w3);
  const own = row < 0 ? program.hostClassOf(flow.workloadId) : program.classOfRow(row);
  const cls = row < 0 || program.workloadId(row) === flow.workloadId ? own : -1;
  if (cls < 0) return null;
  if (flow.decision !== REMEMBERED) return decide(program, cls, flow.facts, "enforce");
  // The name that an earlier agent saw in it is not known any more: it ends when nothing it could be is allowed.
  const decision = decide(program, cls, { ...flow.facts, namesFinal: false, ended: false }, "enforce");
  return decision ?? flow.decision;
}
