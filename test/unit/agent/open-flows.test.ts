import { describe, expect, test } from "vitest";
import { type OfNode, settleExistingFlows } from "../../../src/agent/existing-flows.ts";
import { endingOf } from "../../../src/agent/flow-ending.ts";
import { FlowLog } from "../../../src/agent/flow-log.ts";
import { FlowPage } from "../../../src/agent/flow-page.ts";
import type { FlowSink } from "../../../src/agent/flow-sink.ts";
import { createLogger } from "../../../src/agent/log.ts";
import { OpenFlows, type OpenFlowsOptions } from "../../../src/agent/open-flows.ts";
import { REMEMBERED, redecide } from "../../../src/agent/state.ts";
import type { FlowEvent, FlowTuple } from "../../../src/flow/event.ts";
import { parseLine } from "../../../src/flow/line.ts";
import type { LiveFlow } from "../../../src/flow/live-flows.ts";
import type { FlowRecord } from "../../../src/flow/record.ts";
import type { Conntrack } from "../../../src/kernel/conntrack.ts";
import type { ConntrackEntry } from "../../../src/kernel/conntrack-entry.ts";
import { inPlace, markLayout } from "../../../src/kernel/marks.ts";
import { STATE } from "../../../src/model/verdict.ts";
import { address, agentConfig, compileScene, facts, policy, rule, workload } from "../../support/cases.ts";

const MARKS = markLayout(0x3f);
const APP = workload(2, "app-ns/app");
const BY_ADDRESS = rule("by-address", "Allow", { cidrs: ["203.0.113.0/24"] });
const BY_NAME = rule("by-name", "Allow", { domains: ["*.github.com"], ports: ["TCP 443"] });

const scene = (...rules: (typeof BY_NAME)[]) =>
  compileScene({ policies: [policy("app", rules)], workloads: [APP], config: agentConfig() });

function tuple(server: string, clientPort = 40_000, serverPort = 443, protocol = 6): FlowTuple {
  return { protocol, client: APP.addresses[0]!, server: address(server), clientPort, serverPort };
}

function entry(flow: FlowTuple, state: number, more: Partial<ConntrackEntry> = {}): ConntrackEntry {
  const { protocol, client, server, clientPort, serverPort } = flow;
  const ends = { protocol, icmpId: 0, icmpType: 0, icmpCode: 0 };
  return {
    id: 1,
    original: { ...ends, source: client, destination: server, sourcePort: clientPort, destinationPort: serverPort },
    reply: { ...ends, source: server, destination: client, sourcePort: serverPort, destinationPort: clientPort },
    mark: inPlace(MARKS, state),
    status: 0,
    tcpState: 3,
    originalCounters: { packets: 3, bytes: 300 },
    replyCounters: { packets: 4, bytes: 4_000 },
    start: 1_000,
    stop: 0,
    timeout: 0,
    ...more,
  };
}

/** Conntrack as a list; what is marked is noted as `port state`. */
function world(entries: ConntrackEntry[] = []) {
  const marked: string[] = [];
  const ended: number[] = [];
  const lines: string[] = [];
  const conntrack = {
    dump: (family: string, each: (entry: ConntrackEntry) => void) => {
      if (family === "ipv4") for (const one of entries) each(one);
    },
    *dumpInPieces(family: string, each: (entry: ConntrackEntry) => void) {
      for (const one of family === "ipv4" ? entries : []) yield each(one);
    },
    get: (of: ConntrackEntry["original"]) =>
      entries.find(({ original }) => original.sourcePort === of.sourcePort) ?? null,
    setMark: (of: ConntrackEntry["original"], mark: number) => {
      marked.push(`${of.sourcePort} ${mark}`);
      return true;
    },
  } as unknown as Conntrack;
  const find = (flow: FlowTuple) => entries.find(({ original }) => original.sourcePort === flow.clientPort) ?? null;
  const ender = {
    find,
    end: (flow: FlowTuple) => {
      ended.push(flow.clientPort);
      return find(flow);
    },
  };
  const sink = {
    page: (room: number) => new FlowPage(room),
    written: ({ bytes, length }: FlowPage) => void lines.push(bytes.toString("utf8", 0, length).trimEnd()),
    write: (line: string) => void lines.push(line),
  };
  const flowLog = new FlowLog(sink as unknown as FlowSink);
  flowLog.setWorkloads([APP]);
  const options = {
    conntrack,
    ender,
    marks: MARKS,
    flowLog,
    journal: { opened: () => undefined, closed: () => undefined },
    log: createLogger("silent"),
  } as unknown as OpenFlowsOptions;
  const records = (): FlowRecord[] => lines.flatMap((line) => parseLine(line) ?? []);
  return { conntrack, options, marked, ended, records };
}

function decided(flow: FlowTuple, more: Partial<FlowEvent> = {}): FlowEvent {
  return {
    kind: "flow",
    flowId: 1,
    time: performance.timeOrigin + performance.now(),
    workloadId: APP.id,
    tuple: flow,
    application: "TLS",
    name: "api.github.com",
    method: null,
    path: null,
    decision: { action: "Allow", policy: "ClusterEgressPolicy/app", rule: "by-name", reason: "RuleMatched" },
    audit: null,
    facts: facts({
      address: flow.server,
      port: flow.serverPort,
      names: ["api.github.com"],
      evidence: "api.github.com",
      application: "TLS",
    }),
    state: "allowed",
    ...more,
  };
}

describe("open flows", () => {
  test("a change ends what is no longer allowed, with both records; the rest stays", async () => {
    const kept = tuple("203.0.113.7", 1);
    const gone = tuple("192.0.2.7", 2);
    const { options, ended, records } = world([entry(kept, STATE.allowed), entry(gone, STATE.allowed)]);
    const open = new OpenFlows(options);
    open.onEvent(decided(kept));
    open.onEvent(decided(gone, { flowId: 2 }));
    expect(await open.redecide(scene(BY_NAME, BY_ADDRESS))).toBe(0);
    expect(await open.redecide(scene(BY_ADDRESS))).toBe(1);
    expect(ended).toEqual([2]);
    const last = records().slice(2);
    expect(last.map(({ event, action, reason }) => [event, action, reason])).toEqual([
      ["decision", "Deny", "NoLongerAllowed"],
      ["end", "Allow", "RuleMatched"],
    ]);
    expect(last[1]).toMatchObject({ closedBy: "policy", sent: { packets: 3, bytes: 300 }, received: { bytes: 4_000 } });
  });

  test("what ends by itself leaves, with the reason that conntrack saw", () => {
    const flow = tuple("192.0.2.7", 1);
    const stop = Date.now() + 5_000;
    for (const [tcpState, closedBy] of [
      [8, "reset"],
      [7, "closed"],
      [3, "timeout"],
    ] as const) {
      const { options, records } = world();
      const open = new OpenFlows(options);
      open.onEvent(decided(flow));
      open.onEnding(endingOf(entry(flow, STATE.allowed, { tcpState, start: stop - 60_000, stop }), () => 10_000));
      expect(open.size).toBe(0);
      expect(records().at(-1)).toMatchObject({ event: "end", closedBy, durationMs: 50_000 });
    }
  });

  describe("an ending of a flow with the same ports", () => {
    const flow = tuple("192.0.2.7", 1);
    /** What became of the flow when its entry, or that of a former one, ended so many milliseconds after the decision. */
    function after(milliseconds: number | null, lives: boolean, waited?: number) {
      const { options, records } = world(lives ? [entry(flow, STATE.allowed)] : []);
      let asked = 0;
      const get = options.conntrack.get.bind(options.conntrack);
      const conntrack = Object.assign(Object.create(options.conntrack), {
        get: (of: ConntrackEntry["original"]) => {
          asked++;
          return get(of);
        },
      });
      const open = new OpenFlows({ ...options, conntrack });
      const now = Date.now();
      open.onEvent(decided(flow, { time: now - 2_000, waited }));
      const stop = milliseconds === null ? 0 : now - 2_000 + milliseconds;
      open.onEnding(endingOf(entry(flow, STATE.allowed, { stop })));
      const ends = records().filter(({ event }) => event === "end").length;
      return { open: open.size, ends, asked };
    }

    test.each<[string, number | null, boolean, ReturnType<typeof after>, number?]>([
      ["long before its decision is that of a former flow", -5_000, true, { open: 1, ends: 0, asked: 0 }],
      ["just before it: the kernel is asked, and has an entry", -20, true, { open: 1, ends: 0, asked: 1 }],
      ["just before it: the kernel is asked, and has none", -20, false, { open: 0, ends: 1, asked: 1 }],
      ["before its packet can have come is that of a former flow", -200, true, { open: 1, ends: 0, asked: 0 }, 50],
      ["when its packet may have waited already: the kernel is asked", -100, true, { open: 1, ends: 0, asked: 1 }, 50],
      ["after a wait of nobody knows how long: the kernel is asked", -1_000, true, { open: 1, ends: 0, asked: 1 }, 400],
      ["after it is its own", 1_000, true, { open: 0, ends: 1, asked: 0 }],
      ["at a time that nobody noted: a young flow is asked for", null, true, { open: 1, ends: 0, asked: 1 }],
    ])("%s", (_, milliseconds, lives, outcome, waited) => expect(after(milliseconds, lives, waited)).toEqual(outcome));
  });

  test("others get their turn while many flows are decided anew", async () => {
    const { options } = world();
    const open = new OpenFlows(options);
    for (let i = 0; i < 20_000; i++) {
      const name = `n${i}.github.com`;
      const flow = tuple("192.0.2.7", i + 1);
      const parts = { address: flow.server, port: 443, names: [name], evidence: name, application: "TLS" } as const;
      open.onEvent(decided(flow, { flowId: i + 1, name, facts: facts(parts) }));
    }
    let turns = 0;
    let over = false;
    const others = async () => {
      for (; !over; turns++) await new Promise((resolve) => setImmediate(resolve));
    };
    const counted = others();
    expect(await open.redecide(scene(BY_NAME))).toBe(0);
    over = true;
    await counted;
    expect(turns).toBeGreaterThan(1);
    expect(open.size).toBe(20_000);
  });

  test("flows that the lane follows are told to it", () => {
    const { options } = world();
    const open = new OpenFlows(options);
    const states = [STATE.looking, STATE.allowed, STATE.http, STATE.rejected];
    const endings = states.map((state, i) => endingOf(entry(tuple("192.0.2.7", i), state)));
    expect(endings.map((ending) => open.onEnding(ending))).toEqual([true, false, true, false]);
  });

  test("a request that is refused ends the flow it came on, once", () => {
    const flow = tuple("192.0.2.7", 1);
    const { options, records } = world([entry(flow, STATE.rejected)]);
    const open = new OpenFlows(options);
    open.onEvent(decided(flow, { state: "http", application: "HTTP" }));
    const deny = { action: "Deny", policy: null, rule: null, reason: "DefaultDeny" } as const;
    open.onEvent(decided(flow, { kind: "request", decision: deny, facts: null, state: "rejected" }));
    expect(records().map(({ event }) => event)).toEqual(["decision", "request", "end"]);
    expect(open.size).toBe(0);
  });

  test("flows without room, or whose decision was lost, are judged by their address at the next change", async () => {
    const flows = [tuple("192.0.2.7", 1), tuple("192.0.2.7", 2), tuple("203.0.113.7", 3)];
    const { options, ended } = world(flows.map((flow) => entry(flow, STATE.allowed)));
    const open = new OpenFlows({ ...options, limits: { total: 1, perWorkload: 1 } });
    for (const [i, flow] of flows.entries()) open.onEvent(decided(flow, { flowId: i + 1 }));
    expect(open.size).toBe(1);
    expect(await open.redecide(scene(BY_NAME, BY_ADDRESS))).toBe(1);
    expect(ended).toEqual([2]);

    const lost = world([entry(flows[0]!, STATE.allowed)]);
    const after = new OpenFlows(lost.options);
    await after.redecide(scene(BY_ADDRESS));
    expect(lost.ended).toEqual([]);
    after.missed();
    await after.redecide(scene(BY_ADDRESS));
    expect(lost.ended).toEqual([1]);
  });

  test("look-ups in use are told once", () => {
    const { options } = world();
    const open = new OpenFlows(options);
    for (let port = 1; port < 10; port++) open.onEvent(decided(tuple("192.0.2.7", port), { flowId: port }));
    expect(open.bindingsInUse()).toEqual([{ workloadId: APP.id, address: address("192.0.2.7") }]);
  });
});

describe("flows that were there before", () => {
  const settle = (entries: ConntrackEntry[], mode: "Adopt" | "End", ...rules: (typeof BY_NAME)[]) => {
    const { conntrack, marked } = world(entries);
    const settled = settleExistingFlows(conntrack, scene(...rules), MARKS, mode, () => null);
    const ports = (of: readonly { flow: FlowTuple }[]): number[] => of.map(({ flow }) => flow.clientPort);
    return { kept: ports(settled.kept), ended: ports(settled.ended), inbound: settled.inbound, marked };
  };

  test("undecided: what the address allows stays, what needs a name ends", () => {
    const entries = [entry(tuple("203.0.113.7", 1), STATE.none), entry(tuple("192.0.2.7", 2), STATE.none)];
    expect(settle(entries, "Adopt", BY_NAME, BY_ADDRESS)).toEqual({
      kept: [1],
      ended: [2],
      inbound: 0,
      marked: [`1 ${STATE.allowed}`],
    });
    expect(settle(entries, "End", BY_NAME, BY_ADDRESS)).toEqual({ kept: [], ended: [1, 2], inbound: 0, marked: [] });
  });

  test("allowed by a former agent: ends only what is denied for certain", () => {
    const entries = [entry(tuple("192.0.2.7", 1), STATE.allowed), entry(tuple("192.0.2.7", 2, 444), STATE.allowed)];
    for (const mode of ["Adopt", "End"] as const) {
      expect(settle(entries, mode, BY_NAME)).toEqual({ kept: [1], ended: [2], inbound: 0, marked: [] });
    }
  });

  test("conversations with a resolver are never marked: their questions would go ungated", () => {
    const entries = [
      entry(tuple("10.96.0.10", 1, 53, 17), STATE.none),
      entry(tuple("10.96.0.10", 2, 53, 6), STATE.none),
      entry(tuple("10.244.0.99", 3, 53, 17), STATE.none, {
        original: { ...entry(tuple("10.96.0.10", 3, 53, 17), 0).original },
      }),
    ];
    expect(settle(entries, "Adopt", BY_ADDRESS)).toEqual({ kept: [], ended: [], inbound: 0, marked: [] });
  });

  test("towards a pod is inbound; inside is nobody's egress", () => {
    const towards = entry(tuple("192.0.2.7", 1), STATE.none);
    const inbound = { ...towards, original: { ...towards.reply }, reply: { ...towards.original } };
    const inside = entry(tuple("10.244.7.7", 2), STATE.none);
    expect(settle([inbound, inside], "End", BY_ADDRESS)).toEqual({
      kept: [],
      ended: [],
      inbound: 1,
      marked: [`443 ${STATE.inbound}`],
    });
  });

  test("one that a former agent allowed lives as long as something it could be is allowed", () => {
    const flow: LiveFlow = {
      ...decided(tuple("192.0.2.7", 1)),
      flowId: 0,
      facts: facts({ address: address("192.0.2.7"), namesFinal: true, ended: true }),
      decision: REMEMBERED,
      since: 0,
    };
    expect(redecide(scene(BY_NAME), flow)?.action).toBe("Allow");
    expect(redecide(scene(BY_ADDRESS), flow)?.action).toBe("Deny");
    expect(redecide(scene(BY_NAME), { ...flow, workloadId: 3 })).toBeNull();
  });
});

describe("flows of a pod on its node's network", () => {
  const HOST = { ...workload(5, "app-ns/host"), addresses: [], host: 1 };
  const node = address("198.51.100.1");
  const program = (...rules: (typeof BY_NAME)[]) =>
    compileScene({
      ...{ policies: [policy("app", rules)], workloads: [APP, HOST], config: agentConfig(), nodeAddresses: [node] },
    });
  const flow = { ...tuple("203.0.113.7", 1), client: node };
  const remembered: LiveFlow = {
    ...decided(flow, { workloadId: HOST.id }),
    since: 0,
    facts: facts({ address: flow.server, port: 443 }),
  };

  test("are decided anew by whose they are, for their address is the node's", () => {
    expect(redecide(program(BY_ADDRESS), remembered)?.action).toBe("Allow");
    expect(redecide(program(), remembered)?.action).toBe("Deny");
    expect(redecide(program(BY_ADDRESS), { ...remembered, workloadId: APP.id })).toBeNull();
    expect(redecide(scene(BY_ADDRESS), remembered)).toBeNull();
    // Nor does a pod with an address of its own lend it.
    expect(redecide(program(BY_ADDRESS), { ...remembered, tuple: tuple("203.0.113.7", 1) })).toBeNull();
  });

  test("of before stay where somebody remembers whose they are, and end where nobody does", () => {
    const entries = [
      entry(flow, STATE.allowed),
      entry({ ...flow, clientPort: 2 }, STATE.none),
      entry({ ...flow, clientPort: 3 }, STATE.inbound),
      entry({ ...flow, clientPort: 4 }, STATE.rejected),
    ];
    const settle = (recall: Parameters<typeof settleExistingFlows>[4], ofNode?: OfNode) => {
      const { conntrack, marked } = world(entries);
      const { kept, ended, inbound } = settleExistingFlows(
        conntrack,
        program(BY_ADDRESS),
        MARKS,
        "Adopt",
        recall,
        ofNode,
      );
      const ports = (of: typeof kept) => of.map(({ flow: { clientPort } }) => clientPort);
      return { kept: ports(kept), ended: ports(ended), inbound, marked };
    };
    const none = { inbound: 0, marked: [] };
    expect(settle(() => remembered)).toEqual({ kept: [1], ended: [], ...none });
    expect(settle(() => null)).toEqual({ kept: [], ended: [1], ...none });
    // Another agent may tell yet.
    expect(settle(() => null, "leave")).toEqual({ kept: [], ended: [], ...none });
    // Nobody is to hold these pods any more: what they had open goes on, whoever remembers it.
    const freed = { kept: [], ended: [], inbound: 0, marked: [`1 ${STATE.none}`, `4 ${STATE.none}`] };
    expect(settle(() => remembered, "free")).toEqual(freed);
  });
});
