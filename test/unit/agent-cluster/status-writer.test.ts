import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ClusterDocuments } from "../../../src/agent/cluster/documents.ts";
import { type NodePolicy, type NodeStatus, nodeStatus } from "../../../src/agent/cluster/node-status.ts";
import { nodesOf } from "../../../src/agent/cluster/ranges.ts";
import { StatusWriter } from "../../../src/agent/cluster/status-writer.ts";
import { createLogger } from "../../../src/agent/log.ts";
import { type KubeClient, KubeError, type Writing } from "../../../src/kube/client.ts";

const EMPTY: NodeStatus = nodeStatus({
  ...{
    version: "1",
    notReady: null,
    uninstalling: false,
    bootID: "b",
    bypasses: [],
    config: null,
    unapplied: null,
    publicRanges: [],
  },
  ...{
    sources: [],
    runtime: null,
    listing: new ClusterDocuments().listing,
    workloads: [],
    systemNamespaces: [],
    notEnforced: [],
  },
  denials: { denials: [], leftOut: 0 },
});

const POLICY: NodePolicy = {
  kind: "ClusterEgressPolicy",
  name: "a",
  uid: "u",
  generation: 1,
  programmed: true,
  selectedPods: 1,
};

let writer: StatusWriter;
/** When something was written, in milliseconds. */
let writes: number[];
let status: NodeStatus;
let nodes: number;
/** Why the API server cannot be written to. */
let failure: KubeError | null;
/** Connections to it so far. */
let connects: number;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance", "Date"] });
  writes = [];
  status = EMPTY;
  nodes = 0;
  failure = null;
  connects = 1;
});

afterEach(() => {
  writer.close();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A writer that has said its first words, and said them again. */
async function settledWriter(): Promise<void> {
  const client = {
    get connects() {
      return connects;
    },
    write: async ({ path }: Writing) => {
      if (failure !== null) throw failure;
      if (path.includes("/status")) writes.push(performance.now());
      return "{}";
    },
  } as unknown as KubeClient;
  const log = createLogger("silent");
  writer = new StatusWriter({ client, node: "n", nodeUid: () => "uid", status: () => status, nodes: () => nodes, log });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(writes).toHaveLength(2);
  writes = [];
}

/** @returns after how many milliseconds it was written */
async function change(next: Partial<NodeStatus>): Promise<number> {
  const began = performance.now();
  status = { ...status, ...next };
  writer.changed();
  await vi.advanceTimersByTimeAsync(150_000);
  expect(writes).toHaveLength(1);
  return writes.splice(0)[0]! - began;
}

describe("the status of a node is written", () => {
  test("at once where the size of the cluster is not known", async () => {
    await settledWriter();
    expect(await change({ policies: [POLICY] })).toBeLessThan(10);
  });

  test("at a moment of this node's own where all nodes have it to say: 5 ms for each", async () => {
    await settledWriter();
    nodes = 4096;
    vi.spyOn(Math, "random").mockReturnValue(0.75);
    expect(await change({ policies: [POLICY] })).toBeCloseTo(0.75 * 4096 * 5, -1);
    nodes = 1e9;
    expect(await change({ policies: [] })).toBeCloseTo(90_000, -1);
  });

  test("in a tenth of that where only nodes with pods of a namespace do", async () => {
    await settledWriter();
    nodes = 4096;
    vi.spyOn(Math, "random").mockReturnValue(0.75);
    expect(await change({ policies: [{ ...POLICY, namespace: "team" }] })).toBeCloseTo(0.75 * 4096 * 0.5, -1);
  });

  test("at once where it is this node's alone, also when something else waits", async () => {
    await settledWriter();
    nodes = 4096;
    vi.spyOn(Math, "random").mockReturnValue(0.99);
    status = { ...status, policies: [POLICY] };
    writer.changed();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(writes).toEqual([]);
    expect(await change({ notEnforcedPods: 1 })).toBeLessThan(10);
  });

  test("not at all where it is what it was when its moment comes, and what comes later has a moment of its own", async () => {
    await settledWriter();
    nodes = 4096;
    const random = vi.spyOn(Math, "random").mockReturnValue(0.5);
    status = { ...status, policies: [POLICY] };
    writer.changed();
    await vi.advanceTimersByTimeAsync(1_000);
    status = { ...status, policies: [] };
    await vi.advanceTimersByTimeAsync(60_000);
    expect(writes).toEqual([]);
    random.mockReturnValue(0.25);
    expect(await change({ policies: [POLICY] })).toBeCloseTo(0.25 * 4096 * 5, -1);
  });
});

describe("after minutes in which it could not be written, it is written", () => {
  /** What changes in an outage, and how long after its end it is written. */
  async function afterOutage(error: KubeError, end: () => void): Promise<number> {
    await settledWriter();
    failure = error;
    status = { ...status, notEnforcedPods: 1 };
    writer.changed();
    await vi.advanceTimersByTimeAsync(700_000);
    expect(writes).toEqual([]);
    failure = null;
    end();
    const began = performance.now();
    await vi.advanceTimersByTimeAsync(400_000);
    expect(writes).toHaveLength(1);
    return writes[0]! - began;
  }

  const refused = new KubeError(0, "connect ECONNREFUSED");

  test("within seconds of the first new connection of anybody", async () => {
    expect(await afterOutage(refused, () => connects++)).toBeLessThan(6_000);
  });

  test("at a moment of this node's own in a large cluster, all of which comes back at once", async () => {
    nodes = 4096;
    vi.spyOn(Math, "random").mockReturnValue(0.75);
    const waited = await afterOutage(refused, () => connects++);
    expect(waited).toBeGreaterThan(0.75 * 4096 * 5 - 1);
    expect(waited).toBeLessThan(0.75 * 4096 * 5 + 10_000);
  });

  test("when its pause is over where the server was there all the time, and had enough to do", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.99);
    expect(await afterOutage(new KubeError(429, "too many requests"), () => undefined)).toBeGreaterThan(100_000);
  });
});

test.each([
  ["1024", 1024],
  ["0", 0],
  ["-3", 0],
  ["many", 0],
  ["1e400", 0],
])("a cluster of `%s` nodes has %d", (text, count) => expect(nodesOf({ data: { nodes: text } })).toBe(count));
