import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { World } from "../../../examples/two-apps/world.ts";
import type { AddressPair } from "../../../src/lab/addresses.ts";
import { prepare, Witness } from "./pod.ts";
import { type Row, runTwins, type TwinRun, type Twins } from "./twins.ts";

/** The two apps on one node with an agent, pods that are ready to attack, and a witness outside. */
export interface Stage {
  readonly world: World;
  readonly witness: Witness;
}

/** Stands while the tests of a file run. `letters` tell its lab from those of other files. */
export function stageWith(letters: string, pods: readonly string[]): () => Stage {
  let world: World | undefined;
  let witness: Witness | undefined;
  beforeAll(async () => {
    world = await World.up({ name: `${letters}${(process.pid % 46656).toString(36)}`, nodes: 1 });
    await prepare(world.lab, pods);
    witness = await Witness.start(world.lab);
  });
  afterAll(async () => {
    witness?.stop();
    await world?.down();
  });
  return () => {
    if (world === undefined || witness === undefined) throw new Error("there is no stage before the tests begin");
    return { world, witness };
  };
}

export interface Tricks extends Pick<TwinRun, "pod" | "port" | "allowed" | "denied"> {
  readonly stage: () => Stage;
  readonly rows: readonly Row[];
  readonly server: AddressPair;
  /** What must have become of a row; default: `refusesOnlyTheDenied`. */
  readonly expected?: (row: Row, twins: Twins) => void;
}

/**
 * A test for each row, over both families; the rows of a family are gone at once. Then once more, while SYNs like theirs go by unasked
 * (docs/adr/0017-told-syns.md).
 */
export function describeTwins(title: string, tricks: Tricks): void {
  const { stage, rows, server, expected = refusesOnlyTheDenied, ...run } = tricks;
  describe.each([
    ["ipv4", "cold", 10_000],
    ["ipv6", "cold", 11_000],
    ["ipv4", "warm", 14_000],
    ["ipv6", "warm", 15_000],
  ] as const)(`${title}, %s, %s`, (family, warmth, firstPort) => {
    const warm = warmth === "warm";
    let twins: ReadonlyMap<string, Twins>;
    let unasked: number;

    beforeAll(async () => {
      const before = await unaskedSyns(stage().world);
      twins = await runTwins(rows, { ...run, ...stage(), family, address: server[family], firstPort, warm });
      unasked = (await unaskedSyns(stage().world)) - before;
    });

    test("SYNs go by unasked only like those before", () => {
      // Two for each row, of which those that come together on a busy machine are asked about, and every fourth.
      if (warm) expect(unasked).toBeGreaterThan(rows.length / 4);
      else expect(unasked).toBeLessThan(rows.length / 4);
    });

    test.each(rows)("$trick", (row) => expected(row, twins.get(row.trick)!));
  });
}

async function unaskedSyns({ lab }: World): Promise<number> {
  const { stdout } = await lab.exec("node1", ["nft", "list", "counter", "inet", "sallyport", "told"]);
  return Number(/packets (\d+)/.exec(stdout)?.[1]);
}

function refusesOnlyTheDenied({ refused, may = 0 }: Row, { toDenied, toHonest, honest }: Twins): void {
  expect(toDenied.length, "the server answered a denied name").toBeLessThanOrEqual(may);
  const what = `the honest twin: ${toHonest.length} ${JSON.stringify(honest).slice(0, 200)}`;
  expect(toHonest.length > may, what).toBe(refused === undefined);
}
