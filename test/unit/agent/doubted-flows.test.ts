import { expect, test } from "vitest";
import { DoubtedFlows } from "../../../src/agent/doubted-flows.ts";
import { createLogger } from "../../../src/agent/log.ts";
import type { FlowTuple } from "../../../src/flow/event.ts";
import type { ConntrackEntry, Tuple } from "../../../src/kernel/conntrack-entry.ts";
import { address } from "../../support/cases.ts";

const CLIENT = address("10.244.0.5");
const SERVER = address("192.0.2.7");
/** What the pod asked, and where the flow ends as outsiders see it. */
const SERVICE = address("10.96.0.9");
const NODE = address("192.0.2.1");

function tuple(clientPort: number): FlowTuple {
  return { protocol: 6, client: CLIENT, clientPort, server: SERVER, serverPort: 443 };
}

function entry(clientPort: number, asked = SERVER, seen = CLIENT): ConntrackEntry {
  const ends = { protocol: 6, icmpId: 0, icmpType: 0, icmpCode: 0 };
  return {
    original: { ...ends, source: CLIENT, destination: asked, sourcePort: clientPort, destinationPort: 443 },
    reply: { ...ends, source: SERVER, destination: seen, sourcePort: 443, destinationPort: clientPort },
  } as ConntrackEntry;
}

function same(a: Tuple, b: Tuple): boolean {
  return (
    a.source === b.source &&
    a.destination === b.destination &&
    a.sourcePort === b.sourcePort &&
    a.destinationPort === b.destinationPort
  );
}

function world(entries: readonly ConntrackEntry[]) {
  const unknown: number[][] = [];
  const asked = { walks: 0, gets: 0, fails: false };
  const flows = new DoubtedFlows({
    conntrack: {
      *dumpInPieces(family: string, each: (entry: ConntrackEntry) => void) {
        if (family === "ipv6") return;
        asked.walks++;
        for (const one of entries) yield each(one);
      },
      get: (of: Tuple, direction: "original" | "reply" = "original") => {
        asked.gets++;
        if (asked.fails) throw new Error("no answer");
        return entries.find((one) => same(one[direction], of)) ?? null;
      },
      dump: () => {
        throw new Error("a walk for each flow");
      },
    },
    onUnknown: (gone) => unknown.push(gone.map(({ clientPort }) => clientPort)),
    log: createLogger("silent"),
    gatherMs: 5,
  });
  const settled = async () => {
    for (let gets = -1; gets !== asked.gets; await new Promise((resolve) => setTimeout(resolve, 50))) gets = asked.gets;
  };
  return { flows, unknown, asked, settled };
}

test("those that conntrack does not know are told of, however the others are translated", async () => {
  const entries = [entry(1), entry(2, SERVICE), entry(3, SERVER, NODE), entry(4, SERVICE, NODE)];
  const { flows, unknown, asked, settled } = world(entries);
  flows.add([1, 2, 3].map(tuple));
  flows.add([4, 5].map(tuple));
  flows.add([5, 6].map(tuple));
  await settled();
  expect(unknown).toEqual([[5, 6]]);
  expect(flows.unknown).toBe(2);
  expect(asked.walks).toBe(1);
});

test("no walk where all are found by what they are called", async () => {
  const { flows, unknown, asked, settled } = world([entry(1), entry(2)]);
  flows.add([1, 2].map(tuple));
  await settled();
  expect([unknown, asked.walks]).toEqual([[], 0]);
});

test("none is given up because conntrack does not answer", async () => {
  const { flows, unknown, asked, settled } = world([]);
  asked.fails = true;
  flows.add([1, 2].map(tuple));
  await settled();
  expect(unknown).toEqual([]);
  asked.fails = false;
  flows.add([1].map(tuple));
  await settled();
  expect(unknown).toEqual([[1]]);
});

test("no more than a bound wait, and nothing after the end", async () => {
  const { flows, unknown, settled } = world([]);
  flows.add(Array.from({ length: 20_000 }, (_, port) => tuple(port)));
  await settled();
  expect(unknown.flat()).toHaveLength(16_384);
  flows.add([tuple(1)]);
  await flows.close();
  flows.add([tuple(2)]);
  await settled();
  expect(unknown).toHaveLength(1);
});
