import { describe, expect, test } from "vitest";
import { createLogger } from "../../../src/agent/log.ts";
import { LostEndings } from "../../../src/agent/lost-endings.ts";
import type { FlowEvent, FlowTuple } from "../../../src/flow/event.ts";
import { LiveFlows } from "../../../src/flow/live-flows.ts";
import type { ConntrackEntry, Tuple } from "../../../src/kernel/conntrack-entry.ts";
import { address, facts } from "../../support/cases.ts";

const CLIENT = address("10.244.0.5");
const SERVER = address("192.0.2.7");

function tuple(clientPort: number): FlowTuple {
  return { protocol: 17, client: CLIENT, clientPort, server: SERVER, serverPort: 9000 };
}

function decided(clientPort: number): FlowEvent {
  return {
    ...{
      kind: "flow",
      flowId: clientPort,
      time: 1_000,
      workloadId: 2,
      tuple: tuple(clientPort),
      application: "Unknown",
    },
    ...{ name: null, method: null, path: null, audit: null, state: "allowed" },
    decision: { action: "Allow", policy: null, rule: null, reason: "RuleMatched" },
    facts: facts({ address: SERVER, port: 9000, protocol: 17 }),
  };
}

function entry(clientPort: number): ConntrackEntry {
  const ends = { protocol: 17, icmpId: 0, icmpType: 0, icmpCode: 0 };
  return {
    original: { ...ends, source: CLIENT, destination: SERVER, sourcePort: clientPort, destinationPort: 9000 },
    reply: { ...ends, source: SERVER, destination: CLIENT, sourcePort: 9000, destinationPort: clientPort },
  } as ConntrackEntry;
}

/** `known`: ports of the entries that conntrack has; `walked`: those that a walk comes by. */
function world(known: Set<number>, walked = known) {
  const live = new LiveFlows({ total: 1_000_000, perWorkload: 1_000_000 });
  const told: number[] = [];
  const gone: number[] = [];
  const trouble = { fails: 0 };
  const lane = { asked: false, follows: [] as readonly number[] };
  const conntrack = {
    *dumpInPieces(family: string, each: (entry: ConntrackEntry) => void) {
      if (trouble.fails-- > 0) throw new Error("no answer");
      for (const port of family === "ipv4" ? walked : []) yield each(entry(port));
    },
    get: (of: Tuple, direction?: string) =>
      direction !== "reply" && known.has(of.sourcePort) ? entry(of.sourcePort) : null,
    dump: () => {
      throw new Error("a walk for each flow");
    },
  };
  const lost = new LostEndings({
    conntrack,
    open: {
      live,
      foundEnded: (handle: number) => {
        gone.push(live.view(handle).tuple.clientPort);
        live.remove(handle);
      },
    },
    readRecords: async () => undefined,
    readEndings: async () => undefined,
    followed: async () => {
      lane.asked = true;
      return lane.follows.map(tuple);
    },
    onEnded: (flows) => told.push(...flows.map(({ clientPort }) => clientPort)),
    log: createLogger("silent"),
    settleMs: 1,
  });
  const until = async (done: () => boolean) => {
    for (let i = 0; i < 2_000 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(done()).toBe(true);
  };
  return { live, lost, told, gone, until, lane, trouble };
}

describe("after endings were lost", () => {
  test("flows that conntrack does not know have ended; the others stay, also one that the walk missed", async () => {
    const { live, lost, gone, until } = world(new Set([1, 3, 4]), new Set([1, 3]));
    for (const port of [1, 2, 3, 4, 5]) live.opened(decided(port));
    lost.note(1);
    await until(() => lost.found === 2);
    expect(gone).toEqual([2, 5]);
    expect(live.size).toBe(3);
    await lost.close();
  });

  test("each loss is made good, once; one that could not be is tried again", async () => {
    const known = new Set([1]);
    const { live, lost, trouble, until } = world(known);
    live.opened(decided(1));
    live.opened(decided(2));
    trouble.fails = 2;
    lost.note(1);
    await until(() => live.size === 1);
    known.clear();
    lost.note(1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(live.size).toBe(1);
    lost.note(2);
    await until(() => live.size === 0);
    expect(lost.found).toBe(2);
    await lost.close();
  });

  test("nothing escapes, though memory is packed anew on the way and others open flows", async () => {
    const known = new Set<number>();
    for (let port = 0; port < 60_000; port += 20) known.add(port);
    const { live, lost, gone, lane, until } = world(known);
    for (let port = 0; port < 60_000; port++) live.opened(decided(port));
    lost.note(1);
    let late = 60_000;
    await until(() => {
      if (lane.asked && late < 60_100) live.opened(decided(late++));
      return lost.found > 0;
    });
    expect(lost.found).toBe(60_000 - known.size);
    expect(new Set(gone).size).toBe(gone.length);
    expect(live.size).toBe(known.size + late - 60_000);
    await lost.close();
  });

  test("the lane is told which of those that it follows are over", async () => {
    const { lost, lane, told, until } = world(new Set([1]));
    lane.follows = [1, 2];
    lost.note(1);
    await until(() => told.length > 0);
    expect(told).toEqual([2]);
    await lost.close();
  });

  test("an agent that stops does not wait for the rest of it", async () => {
    const { live, lost } = world(new Set());
    live.opened(decided(1));
    lost.note(1);
    await lost.close();
    expect(live.size).toBe(1);
  });
});
