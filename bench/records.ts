/**
 * What a flow record costs after the lane has handed it over: `node bench/records.ts [FILE]`. A thread fills the ring as a lane would; this one
 * does with it what the agent's main thread does (counts, open flows, journal, lines to FILE) and is paid in processor time. Nanoseconds a
 * request, and a short flow: its opening, its end, the journal's records of both and two lines.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { FlowFile } from "../src/agent/flow-file.ts";
import { FlowLog, lostLine } from "../src/agent/flow-log.ts";
import { FlowSink } from "../src/agent/flow-sink.ts";
import { JournalFile } from "../src/agent/journal/file.ts";
import { Journal } from "../src/agent/journal/journal.ts";
import { createLogger } from "../src/agent/log.ts";
import { DecisionCounts } from "../src/agent/metrics/decision-counts.ts";
import { OpenFlows, type OpenFlowsOptions } from "../src/agent/open-flows.ts";
import type { FlowEnding } from "../src/flow/ending.ts";
import { createEndingRing, EndingReader, EndingWriter } from "../src/flow/ending-ring.ts";
import type { FlowEvent } from "../src/flow/event.ts";
import { createRing, RingReader, RingWriter } from "../src/flow/ring.ts";
import { inPlace, markLayout } from "../src/kernel/marks.ts";
import type { Decision } from "../src/model/decision.ts";
import { STATE } from "../src/model/verdict.ts";
import { address, compileScene, facts, workload } from "../test/support/cases.ts";

const FLOWS = process.argv[2] ?? "/tmp/bench-records.jsonl";
const STATE_FOLDER = "/tmp/bench-records-state";
const MARKS = markLayout(0x3f);
const POD = workload(1, "team/app", { addresses: [address("10.244.0.1")], labels: { app: "client", tier: "bench" } });
const decision: Decision = {
  action: "Allow",
  policy: "ClusterEgressPolicy/bench",
  rule: "github",
  reason: "RuleMatched",
};
const server = address("203.0.113.80");
const STEP = 1_000;

function flow(id: number): FlowEvent {
  const port = 1024 + (id % 60_000);
  return {
    kind: "flow",
    flowId: id,
    time: performance.timeOrigin + performance.now(),
    workloadId: POD.id,
    tuple: { protocol: 6, client: POD.addresses[0]!, server, clientPort: port, serverPort: 443 },
    application: "TLS",
    name: "api.github.com",
    method: null,
    path: null,
    decision,
    audit: null,
    facts: facts({
      address: server,
      port: 443,
      names: ["api.github.com"],
      evidence: "api.github.com",
      application: "TLS",
    }),
    state: "allowed",
  };
}

function request(id: number): FlowEvent {
  const of = flow(id % 64);
  return {
    ...of,
    kind: "request",
    application: "HTTP",
    method: "GET",
    path: "/v1/items/42",
    facts: null,
    state: "http",
  };
}

function ending(of: FlowEvent): FlowEnding {
  return {
    flow: of.tuple,
    asked: of.tuple.server,
    askedPort: of.tuple.serverPort,
    stop: Date.now() + 1_000,
    mark: inPlace(MARKS, STATE.allowed),
    sentPackets: 6,
    sentBytes: 900,
    receivedPackets: 5,
    receivedBytes: 1_800,
    durationMs: 1_040,
    lastSeen: "closed",
  };
}

class Path {
  readonly #ring = createRing(1 << 23);
  readonly #writer = new RingWriter(this.#ring);
  readonly #reader = new RingReader(this.#ring);
  readonly #endingRing = createEndingRing();
  readonly #endings = new EndingWriter(this.#endingRing);
  readonly #ended = new EndingReader(this.#endingRing);
  readonly #counts = new DecisionCounts();
  readonly sink = new FlowSink({
    target: new FlowFile({ path: FLOWS, maxSize: 1 << 28, keep: 1 }),
    lostLine,
    onTrouble: (message) => console.error(message),
  });
  readonly #log = new FlowLog(this.sink);
  readonly journal: Journal;
  readonly #open: OpenFlows;
  written = 0;

  constructor() {
    const log = createLogger("silent");
    const file = new JournalFile(STATE_FOLDER);
    this.journal = new Journal({ file, run: this.#log.run, keyOf: () => "uid-1", log });
    this.journal.open(compileScene({ policies: [], workloads: [POD] }), [POD], 1_000);
    this.#counts.setPolicies([decision.policy!]);
    this.#log.setWorkloads([POD]);
    const conntrack = { get: () => null };
    const rest = { conntrack, ender: {}, marks: MARKS } as unknown as Pick<
      OpenFlowsOptions,
      "conntrack" | "ender" | "marks"
    >;
    this.#open = new OpenFlows({ ...rest, flowLog: this.#log, journal: this.journal, log });
    this.journal.start(this.#open.live);
  }

  /** In the lane's thread. */
  write(events: readonly FlowEvent[]): void {
    for (const event of events) if (this.#writer.write(event)) this.written++;
  }

  /** In the main thread. */
  read(): void {
    for (let event = this.#reader.read(); event !== null; event = this.#reader.read()) {
      this.#counts.count(event);
      this.#open.onEvent(event);
    }
  }

  /** In the thread that reads endings. */
  ended(endings: readonly FlowEnding[]): void {
    for (const ending of endings) this.#endings.write(ending, () => false);
  }

  end(): void {
    for (let ending = this.#ended.read(); ending !== null; ending = this.#ended.read()) this.#open.onEnding(ending);
  }

  async close(): Promise<void> {
    await this.journal.close();
    await this.sink.close();
  }
}

/** Processor time of this process while `work` runs, the threads that write files included. */
async function timed(spent: { total: number }, work: () => void): Promise<void> {
  const begun = process.cpuUsage();
  work();
  await new Promise((resolve) => setImmediate(resolve));
  const { user, system } = process.cpuUsage(begun);
  spent.total += (user + system) * 1000;
}

async function measure(title: string, total: number, make: (id: number) => FlowEvent, ends: boolean): Promise<void> {
  const path = new Path();
  const write = { total: 0 };
  const read = { total: 0 };
  const end = { total: 0 };
  for (let at = 1; at < total; at += STEP) {
    const events = Array.from({ length: STEP }, (_, i) => make(at + i));
    const endings = ends ? events.map(ending) : [];
    await timed(write, () => path.write(events));
    await timed(read, () => path.read());
    path.ended(endings);
    if (ends) await timed(end, () => path.end());
    // As the lane's handle does: what cannot be written yet waits in the ring.
    while (path.sink.counts.pendingBytes > 1 << 22) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const rest = { total: 0 };
  const begun = process.cpuUsage();
  await path.close();
  const { user, system } = process.cpuUsage(begun);
  rest.total = (user + system) * 1000;
  const each = (of: { total: number }) => (of.total / total).toFixed(0).padStart(6);
  console.log(
    `${title.padEnd(20)} ns: write (lane) ${each(write)}, read${each(read)}, end${each(end)}, rest${each(rest)}; lost ${total - path.written + path.sink.counts.lost}`,
  );
}

for (let round = 0; round < 3; round++) {
  await measure("a request", 200_000, request, false);
  await measure("a short flow", 100_000, flow, true);
}
for (const path of [FLOWS, `${FLOWS}.1`, join(STATE_FOLDER)]) rmSync(path, { recursive: true, force: true });
