import type { AgentConfig } from "../model/config.ts";
import { hostKeys } from "../model/host-pod.ts";
import type { DestinationGroup, Policy } from "../model/policy.ts";
import type { Workload } from "../model/workload.ts";
import type { Address } from "../net/address.ts";
import { buildCidrTable } from "./cidr-table.ts";
import { type Classes, classify } from "./classes.ts";
import type { ProgramData } from "./layout.ts";
import { buildNameTable } from "./name-buckets.ts";
import { comparePolicies } from "./order.ts";
import { PostingsBuilder } from "./postings.ts";
import { RuleCompiler } from "./rules.ts";
import { buildWordTable, endpointWord, type WordEntry } from "./word-table.ts";
import { shareWords, WordList } from "./words.ts";

export interface CompileInput {
  readonly epoch: number;
  readonly policies: readonly Policy[];
  readonly groups: readonly DestinationGroup[];
  readonly workloads: readonly Workload[];
  readonly config: AgentConfig;
  /** Of the cluster's nodes; default: none is known. */
  readonly nodeAddresses?: readonly Address[];
  /** Ids of workloads of which enforcement is set aside: nothing is denied them, and what would be is told. Default: none. */
  readonly bypassed?: ReadonlySet<number>;
}

/**
 * Compiles one epoch. Pure; the result is structured-cloneable and its buffers are shared, never copied, by postMessage.
 * Policies that select no workload of the input, and groups that only they use, cost nothing.
 */
export function compileProgram(input: CompileInput): ProgramData {
  const { workloads, config } = input;
  const namespaces = new Set(workloads.map(({ namespace }) => namespace));
  const ordered = input.policies
    .filter(({ namespace }) => namespace === null || namespaces.has(namespace))
    .sort(comparePolicies);
  const classes = classify(ordered, workloads, config, input.bypassed);
  const compiler = new RuleCompiler(input.groups);
  const laidOut = layOutClasses(classes, compiler);
  const { sets } = compiler;
  const postings = new PostingsBuilder();
  const names = buildNameTable(sets.names, postings);
  const cidrs = buildCidrTable(sets.cidrs, postings);
  const inside = buildCidrTable([{ cidrs: config.clusterCIDRs, except: [] }], new PostingsBuilder());
  return {
    epoch: input.epoch,
    clusterDomain: config.clusterDomain,
    ...layOutWorkloads(workloads, classes),
    endpoints: endpointTable(config),
    resolvers: addressTable(config.resolvers),
    nodes: addressTable(input.nodeAddresses ?? []),
    ...laidOut,
    rules: compiler.finish(),
    postings: postings.share(),
    names,
    cidrs,
    inside,
    exactNames: sets.exactNames,
    exactOnly: sets.exactOnly,
    text: {
      policyRefs: compiler.policyRefs,
      ruleNames: compiler.ruleNames,
      groupNames: compiler.groupNames,
      nameSets: sets.nameText,
      cidrSets: sets.cidrText,
    },
  };
}

function addressTable(addresses: readonly Address[]): Uint32Array {
  return buildWordTable(addresses.map((address) => ({ address, extra: 0, value: 1 })));
}

function layOutClasses({ classes }: Classes, compiler: RuleCompiler): Pick<ProgramData, "classes" | "classLists"> {
  const rows = new WordList();
  const lists = new WordList();
  const ids = new Map<Policy, number>();
  const run = (values: readonly number[]): [number, number] => {
    const start = lists.length;
    for (const value of values) lists.push(value);
    return [start, values.length];
  };
  for (const { policies, flags } of classes) {
    const own = policies.map((policy) => {
      const id = ids.get(policy) ?? compiler.add(policy);
      ids.set(policy, id);
      return id;
    });
    const union = (kind: "names" | "cidrs") => [...new Set(own.flatMap((id) => [...compiler.setsOf[id]![kind]]))];
    rows.push(...run(own), ...run(union("names")), ...run(union("cidrs")), flags);
  }
  return { classes: rows.share(), classLists: lists.share() };
}

type WorkloadTables = Pick<ProgramData, "workloadIds" | "workloadClasses" | "addresses" | "rowsById" | "hostIds">;

/** An address that two workloads claim belongs to neither: its packets are held and refused, not lent an identity. */
function layOutWorkloads(workloads: readonly Workload[], { classOf }: Classes): WorkloadTables {
  const owners = new Map<string, WordEntry | null>();
  for (const [row, { addresses, host }] of workloads.entries()) {
    for (const address of host === undefined ? addresses : hostKeys(host)) {
      const key = `${address.w0},${address.w1},${address.w2},${address.w3}`;
      const other = owners.get(key);
      const mine = other === undefined || other?.value === row;
      owners.set(key, mine ? { address, extra: 0, value: row } : null);
    }
  }
  const byId = workloads.map(({ id }, row) => ({ address: idKey(id), extra: 0, value: row }));
  return {
    workloadIds: shareWords(workloads.map(({ id }) => id)),
    workloadClasses: shareWords(classOf),
    addresses: buildWordTable([...owners.values()].filter((entry) => entry !== null)),
    rowsById: buildWordTable(byId),
    hostIds: shareWords(workloads.flatMap(({ id, host }) => (host === undefined ? [] : [id]))),
  };
}

function endpointTable({ internalEndpoints }: AgentConfig): Uint32Array {
  return buildWordTable(
    internalEndpoints.map(({ address, protocol, port }) => ({
      address,
      extra: endpointWord(protocol, port),
      value: 1,
    })),
  );
}

/** Workload ids are looked up in a table of address-wide keys. */
function idKey(id: number): Address {
  return { w0: 0, w1: 0, w2: 0, w3: id };
}
