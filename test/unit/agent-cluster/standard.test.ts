import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ClusterDocuments } from "../../../src/agent/cluster/documents.ts";
import { ClusterMemory } from "../../../src/agent/cluster/memory.ts";
import { nodeStatus } from "../../../src/agent/cluster/node-status.ts";
import {
  type SourceState,
  sourcesCondition,
  standardResource,
  whyNotRead,
} from "../../../src/agent/cluster/standard.ts";
import { ClusterWatcher, type WatcherListener } from "../../../src/agent/cluster/watcher.ts";
import { createLogger } from "../../../src/agent/log.ts";
import type { KubeObject } from "../../../src/kube/object.ts";
import { workload } from "../../support/cases.ts";
import { answer, listOf, StubApiServer } from "../../support/stub-api-server.ts";

function networkPolicy(name: string, spec: object, uid = name): KubeObject {
  return { key: `team/${name}`, uid, value: { metadata: { name, namespace: "team", uid, generation: 2 }, spec } };
}

const OUTSIDE = { to: [{ ipBlock: { cidr: "203.0.113.0/24" } }] };
const take = (documents: ClusterDocuments, ...objects: readonly KubeObject[]) =>
  documents.take("networkpolicies", new Map(objects.map((object) => [object.key, object])));

function statusOf(documents: ClusterDocuments, sources: readonly SourceState[] = []) {
  const nothing = { notReady: null, uninstalling: false, config: null, unapplied: null, notEnforced: [] };
  const other = { runtime: null, bootID: "b", bypasses: [], publicRanges: [], denials: { denials: [], leftOut: 0 } };
  const workloads = [workload(1, "team/web")];
  const { listing } = documents;
  return nodeStatus({ version: "1", ...nothing, ...other, systemNamespaces: [], listing, workloads, sources });
}

describe("standard policies of an API server", () => {
  test("are told in the node's status, with what is not decided here", () => {
    const documents = new ClusterDocuments();
    take(
      documents,
      networkPolicy("a", { podSelector: {}, egress: [OUTSIDE, { to: [{ podSelector: {} }] }] }),
      networkPolicy("b", { podSelector: {}, egress: [OUTSIDE] }),
      networkPolicy("in", { podSelector: {}, policyTypes: ["Ingress"] }),
      networkPolicy("new", { podSelector: {}, egress: [{ to: [{ fqdn: "a.example" }] }] }),
    );
    expect(statusOf(documents).policies).toMatchObject([
      {
        kind: "NetworkPolicy",
        namespace: "team",
        name: "new",
        programmed: false,
        reason: "UnknownField",
        generation: 2,
      },
      {
        ...{ kind: "NetworkPolicy", name: "a", programmed: true, selectedPods: 1, reason: "PartiallyEnforced" },
        message: "peers inside the cluster are not decided here, in egress[1]",
      },
      { kind: "NetworkPolicy", name: "b", programmed: true, selectedPods: 1 },
    ]);
    expect(statusOf(documents).policies[2]).not.toHaveProperty("reason");
  });

  test("never stay what they were: the API server has taken what cannot be read", () => {
    const documents = new ClusterDocuments();
    take(documents, networkPolicy("a", { podSelector: {}, egress: [OUTSIDE] }, "u"));
    take(
      documents,
      networkPolicy("a", { podSelector: {}, egress: [{ to: [{ ipBlock: { cidr: "010.0.0.0/8" } }] }] }, "u"),
    );
    expect(documents.refused).toMatchObject([{ kind: "NetworkPolicy", reason: "Invalid", instead: "strictest" }]);
    expect(documents.policies).toMatchObject([{ rules: [{ to: [] }] }]);
    expect(documents.remembered).toEqual([]);
    take(documents);
    expect([documents.policies, documents.refused]).toEqual([[], []]);
  });

  test("are kept without what comes to a pod", () => {
    const { trim } = standardResource("networkpolicies");
    const spec = { podSelector: {}, ingress: [{}], policyTypes: ["Ingress"] };
    expect(trim({ metadata: { name: "a", namespace: "b", labels: {} }, spec })).toEqual({
      metadata: { name: "a", namespace: "b" },
      spec: { podSelector: {}, policyTypes: ["Ingress"] },
    });
  });
});

describe("the condition SourcesRead", () => {
  const kind = "ClusterNetworkPolicy";
  const read: SourceState = { kind: "NetworkPolicy", state: "read", trouble: null };
  const rows: readonly [states: readonly SourceState[], status: string, reason: string, ready: boolean][] = [
    [[read], "True", "Read", true],
    [[read, { kind, state: "waiting", trouble: null }], "False", "Waiting", true],
    [[read, { kind, state: "missing", trouble: null }], "False", "NotInstalled", true],
    [[read, { kind, state: "refused", trouble: "403 Forbidden" }], "False", "NotRead", false],
  ];
  test.each(rows)("of %j", (states, status, reason, well) => {
    expect(sourcesCondition(states)).toMatchObject([{ type: "SourcesRead", status, reason }]);
    expect(whyNotRead(states) === null).toBe(well);
  });

  test("is not there where nothing is listed", () => {
    expect(statusOf(new ClusterDocuments()).conditions.map(({ type }) => type)).toEqual(["Ready"]);
  });
});

describe("watches of standard policies", () => {
  let folder: string;
  let stub: StubApiServer;
  let watcher: ClusterWatcher;
  const changed: string[] = [];
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "sallyport-standard-"));
    stub = await StubApiServer.start();
    const listener: WatcherListener = {
      hold: (_, packing) => packing.hold,
      onChange: (name) => void changed.push(name),
      onSynced: () => undefined,
    };
    const memory = new ClusterMemory(join(folder, "state"), "node", () => undefined);
    watcher = new ClusterWatcher(
      stub.access,
      { node: "node", namespace: "sallyport" },
      memory,
      listener,
      createLogger("silent"),
    );
  });
  afterEach(async () => {
    watcher.close();
    await stub.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Answers the next requests, whichever comes first. Watches stay silent. */
  async function answerLists(bodies: Readonly<Record<string, readonly [status: number, body: object]>>): Promise<void> {
    for (let left = Object.keys(bodies).length; left > 0; left--) {
      const asked = await stub.next();
      const [status, body] = bodies[asked.url.pathname.split("/").at(-1)!]!;
      answer(asked, body, status);
    }
  }

  test("begin when a kind is listed and end when it is not, and what is missing is said", async () => {
    expect([watcher.follow([]), watcher.sources, watcher.sourcesKnown(false)]).toEqual([[], [], true]);
    expect(watcher.follow(["NetworkPolicy", "ClusterNetworkPolicy"])).toEqual([
      "networkpolicies",
      "clusternetworkpolicies",
    ]);
    expect([watcher.follow(["ClusterNetworkPolicy", "NetworkPolicy"]), watcher.sourcesKnown(true)]).toEqual([
      [],
      false,
    ]);
    const metadata = { name: "a", namespace: "team", uid: "u" };
    await answerLists({
      networkpolicies: [200, listOf("5", [{ metadata, spec: {} }])],
      clusternetworkpolicies: [404, { kind: "Status", code: 404 }],
    });
    await expect.poll(() => watcher.sourcesKnown(false)).toBe(true);
    expect(watcher.sources).toMatchObject([
      { kind: "NetworkPolicy", state: "read" },
      { kind: "ClusterNetworkPolicy", state: "missing" },
    ]);
    expect([...watcher.objects("networkpolicies").keys()]).toEqual(["team/a"]);
    expect(changed).toContain("networkpolicies");
    expect(watcher.follow(["ClusterNetworkPolicy"])).toEqual(["networkpolicies"]);
    expect(watcher.objects("networkpolicies").size).toBe(0);
    expect(watcher.sources).toMatchObject([{ kind: "ClusterNetworkPolicy" }]);
  });

  test("that are refused are said", async () => {
    watcher.follow(["NetworkPolicy"]);
    await answerLists({ networkpolicies: [403, { kind: "Status", code: 403, message: "no" }] });
    await expect.poll(() => watcher.sources[0]?.state).toBe("refused");
    expect([watcher.sourcesKnown(false), whyNotRead(watcher.sources)]).toEqual([
      true,
      expect.stringContaining("may not read"),
    ]);
  });
});
