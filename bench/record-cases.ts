/** Events and what an agent's main thread does with them, for measurements of records. */

import { FlowFile } from "../src/agent/flow-file.ts";
import { FlowLog, lostLine } from "../src/agent/flow-log.ts";
import { FlowSink } from "../src/agent/flow-sink.ts";
import { JournalFile } from "../src/agent/journal/file.ts";
import { Journal } from "../src/agent/journal/journal.ts";
import { createLogger } from "../src/agent/log.ts";
import { DecisionCounts } from "../src/agent/metrics/decision-counts.ts";
import { OpenFlows, type OpenFlowsOptions } from "../src/agent/open-flows.ts";
import type { FlowEvent } from "../src/flow/event.ts";
import { markLayout } from "../src/kernel/marks.ts";
import type { Decision } from "../src/model/decision.ts";
import { address, compileScene, facts, workload } from "../test/support/cases.ts";

export const MARKS = markLayout(0x3f);
const POD = workload(1, "team/app", { addresses: [address("10.244.0.1")], labels: { app: "client", tier: "bench" } });
const decision: Decision = {
  action: "Allow",
  policy: "ClusterEgressPolicy/bench",
  rule: "github",
  reason: "RuleMatched",
};
const server = address("203.0.113.80");

export function flow(id: number): FlowEvent {
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

export function request(id: number): FlowEvent {
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

/** What takes records in an agent, with files of its own. */
export class Recorder {
  readonly counts = new DecisionCounts();
  readonly sink: FlowSink;
  readonly log: FlowLog;
  readonly journal: Journal;
  readonly open: OpenFlows;

  constructor(path: string, state: string) {
    const target = new FlowFile({ path, maxSize: 1 << 28, keep: 1 });
    this.sink = new FlowSink({ target, lostLine, onTrouble: (message) => console.error(message) });
    this.log = new FlowLog(this.sink);
    this.log.setWorkloads([POD]);
    this.counts.setPolicies([{ kind: "ClusterEgressPolicy", namespace: null, name: "bench" }]);
    const log = createLogger("silent");
    this.journal = new Journal({ file: new JournalFile(state), run: this.log.run, keyOf: () => "uid-1", log });
    this.journal.open(compileScene({ policies: [], workloads: [POD] }), [POD], 1_000);
    const kernel = { conntrack: { get: () => null }, ender: {} } as unknown as OpenFlowsOptions;
    this.open = new OpenFlows({ ...kernel, marks: MARKS, flowLog: this.log, journal: this.journal, log });
    this.journal.start(this.open.live);
  }

  onEvent(event: FlowEvent): void {
    this.counts.count(event);
    this.open.onEvent(event);
  }

  async close(): Promise<void> {
    await this.journal.close();
    await this.sink.close();
  }
}
