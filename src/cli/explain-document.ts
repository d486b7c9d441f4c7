import type { Judgement } from "./judge.ts";

/** What `explain -o json` prints. */
export interface ExplainDocument {
  readonly action: string;
  readonly policy: string | null;
  readonly rule: string | null;
  readonly reason: string;
  /** When the action is known: at the first packet, at the first payload, or at once for a DNS question. */
  readonly decidedAt: string;
  readonly summary: string;
  readonly from: string;
  readonly to: string;
  readonly ip: string | null;
  /** The name as decisions see it; null for a plain address. */
  readonly name: string | null;
  readonly workload: {
    readonly namespace: string;
    readonly name: string;
    readonly serviceAccount: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly addresses: readonly string[];
    readonly isolated: boolean;
  };
  /** The policies that select the workload, in the order in which they are asked. */
  readonly policies: readonly {
    readonly policy: string;
    readonly tier: string;
    readonly priority: number;
    readonly mode: string;
    readonly defaultDeny: boolean;
  }[];
  readonly steps: Judgement["steps"];
  readonly audit: {
    readonly action: string;
    readonly policy: string | null;
    readonly rule: string | null;
    readonly reason: string;
    readonly steps: Judgement["steps"];
  } | null;
}
