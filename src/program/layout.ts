import type { HttpMatch, RuleAction, Tier } from "../model/policy.ts";

/** Which policies a walk follows: those that are enforced, or these and the Audit ones. */
export type Walk = "enforce" | "all";

/** In a field that names a set, a list or a count: the policy asks for nothing here. */
export const NONE = 0xffffffff;

/** Row of `policies`. */
export const POLICY = { rules: 0, ruleCount: 1, tier: 2, flags: 3, stride: 4 } as const;
export const POLICY_FLAG = { audit: 1, defaultDeny: 2 } as const;

/** Row of `rules`. `entryCount` NONE: every destination. */
export const RULE = { entries: 0, entryCount: 1, action: 2, hiddenContinues: 3, policy: 4, stride: 5 } as const;

/** Row of `entries`. Sets are ids; `groupState` is one of GROUP; `ports` counts rows of `ports`; `tls` are TLS flags. */
export const ENTRY = {
  names: 0,
  cidrs: 1,
  groupState: 2,
  groupNames: 3,
  groupCidrs: 4,
  ports: 5,
  portCount: 6,
  http: 7,
  tls: 8,
  group: 9,
  stride: 10,
} as const;
export const GROUP = { none: 0, known: 1, missing: 2 } as const;
export const TLS = { none: 0, present: 1, required: 2, refuseEncryptedHello: 4 } as const;

/** What a set of addresses holds: some, every address of both families, none outside the cluster. */
export const EXTENT = { some: 0, everywhere: 1, nowhere: 2 } as const;

/** Row of `ports`. */
export const PORT = { protocol: 0, from: 1, to: 2, stride: 3 } as const;

/** In the order in which they are asked; those of the standard policies first. */
export const TIERS: readonly Tier[] = [
  "StandardAdmin",
  "NetworkPolicy",
  "StandardBaseline",
  "Admin",
  "Namespace",
  "Baseline",
];
/** Where an Accept leads. */
export const FIRST_OWN_TIER = 3;
export const ACTIONS: readonly RuleAction[] = ["Allow", "Deny", "Next", "Pass", "Accept"];
export const ACTION = { allow: 0, deny: 1, next: 2, pass: 3, accept: 4 } as const;

/** Row of `classes`. Policies, name sets and CIDR sets are runs in `classLists`. */
export const CLASS = {
  policies: 0,
  policyCount: 1,
  names: 2,
  nameCount: 3,
  cidrs: 4,
  cidrCount: 5,
  flags: 6,
  stride: 7,
} as const;
export const CLASS_FLAG = {
  ...{ selected: 1, audited: 2, isolated: 4, isolatedByAll: 8 },
  ...{ standard: 16, mute: 32, bypassed: 64 },
} as const;

/** Names of all policies, looked up by suffix (name-table.ts). */
export interface NameTableData {
  /** Of the hashes. Secret: whoever knows them can find names that are taken for others. */
  readonly keys: Uint32Array;
  readonly buckets: Uint32Array;
  /** Numbers of labels that patterns have, as bits (name-hash.ts). */
  readonly levels: number;
  /** The list of the sets that hold `*`. */
  readonly any: number;
  readonly setCount: number;
}

/** All prefixes of all policies, as disjoint segments that know their innermost prefix (cidr-table.ts). */
export interface CidrTableData {
  readonly starts: Uint32Array;
  readonly innermost: Int32Array;
  readonly prefixes: Uint32Array;
  readonly setCount: number;
}

/** Everything that decisions read of the rules. */
export interface RuleData {
  readonly policies: Uint32Array;
  readonly rules: Uint32Array;
  readonly entries: Uint32Array;
  readonly ports: Uint32Array;
  /** By set of addresses one of EXTENT. */
  readonly extents: Uint32Array;
  readonly http: readonly HttpMatch[];
}

/** What people read: never needed for a verdict, only for its words. */
export interface TextData {
  readonly policyRefs: readonly string[];
  readonly ruleNames: readonly string[];
  readonly groupNames: readonly string[];
  readonly nameSets: readonly string[];
  readonly cidrSets: readonly string[];
}

/**
 * One compiled epoch. Structured-cloneable: the arrays lie on shared buffers, so a post to another thread copies only
 * the strings. Never written after `compileProgram` returns.
 */
export interface ProgramData {
  readonly epoch: number;
  readonly clusterDomain: string;
  readonly workloadIds: Uint32Array;
  readonly workloadClasses: Uint32Array;
  /** Word tables (word-table.ts): address → row, workload id → row, inside endpoint, resolver, node. */
  readonly addresses: Uint32Array;
  readonly rowsById: Uint32Array;
  /** Ids of workloads on their node's network. */
  readonly hostIds: Uint32Array;
  readonly endpoints: Uint32Array;
  readonly resolvers: Uint32Array;
  readonly nodes: Uint32Array;
  readonly classes: Uint32Array;
  readonly classLists: Uint32Array;
  readonly rules: RuleData;
  /** Lists of set ids, each a count and the ids in ascending order; shared by names and prefixes. */
  readonly postings: Uint32Array;
  readonly names: NameTableData;
  readonly cidrs: CidrTableData;
  readonly inside: CidrTableData;
  /** By name set: at most 16 of its exact names, to be resolved while a packet waits. */
  readonly exactNames: readonly (readonly string[])[];
  /** By name set: `exactNames` are all there is in it. */
  readonly exactOnly: readonly boolean[];
  readonly text: TextData;
}
