import type { World } from "../../../examples/two-apps/world.ts";
import { attack, type Witness } from "./pod.ts";
import type { Outcome, Step } from "./script.ts";
import { wait } from "./steps.ts";

/** `name` is what the server must come to read, `other` what the inspector shall be made to believe. */
export type Trick = (name: string, other: string) => readonly Step[];

/** A trick of the hostile pod. The same steps are gone with a denied name and, by its honest twin, with an allowed one. */
export interface Row {
  readonly trick: string;
  readonly steps: Trick;
  /** Why the honest twin is refused too; else it must work. */
  readonly refused?: string;
  /** Bytes that the server may say to the denied one, because what came first is allowed. */
  readonly may?: number;
}

export function row(trick: string, steps: Trick, refused?: string, may = 0): Row {
  return { trick, steps, may, ...(refused === undefined ? {} : { refused }) };
}

export interface Twins {
  readonly denied: Outcome;
  readonly honest: Outcome;
  /** What the server said to each. */
  readonly toDenied: string;
  readonly toHonest: string;
}

export interface TwinRun {
  readonly world: World;
  readonly witness: Witness;
  readonly pod: string;
  readonly family: "ipv4" | "ipv6";
  readonly address: string;
  readonly port: number;
  readonly allowed: string;
  readonly denied: string;
  /** Source ports from here on, two a row. */
  readonly firstPort: number;
  /** The pod's SYNs are like those that the gate lets go unasked, while it does. */
  readonly warm?: boolean;
}

/** SYNs go unasked while connections begin one after the other. */
const APART_MS = 30;

/** Goes every row twice, all at once, or shortly after each other. */
export async function runTwins(rows: readonly Row[], run: TwinRun): Promise<ReadonlyMap<string, Twins>> {
  const { world, witness, pod, address, port, firstPort } = run;
  const { lab } = world;
  await lab.exec(pod, ["getent", "ahosts", run.allowed]);
  const source = lab.pod(pod).address[run.family];
  const plain = run.warm === true;
  const script = (turn: number, steps: readonly Step[]) => {
    const begins = plain ? [wait(turn * APART_MS)] : [];
    return { address, port, from: firstPort + turn, source, plain, steps: [...begins, ...steps] };
  };
  const scripts = rows.flatMap(({ steps }, index) => [
    script(index * 2, steps(run.denied, run.allowed)),
    script(index * 2 + 1, steps(run.allowed, run.denied)),
  ]);
  const outcomes = await attack(lab, pod, scripts);
  await new Promise((resolve) => setTimeout(resolve, 300));
  return new Map(
    rows.map(({ trick }, index) => {
      const denied = outcomes[index * 2]!;
      const honest = outcomes[index * 2 + 1]!;
      const toDenied = witness.said(address, denied.from);
      return [trick, { denied, honest, toDenied, toHonest: witness.said(address, honest.from) }];
    }),
  );
}
