import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { NewestRecords } from "../../../src/cli/plugin/newest.ts";
import { TimeOrder } from "../../../src/cli/plugin/time-order.ts";
import type { FlowRecord } from "../../../src/flow/record.ts";
import { agentOf, serveSmallCluster } from "../../support/plugin-objects.ts";
import type { Asked } from "../../support/stub-api-server.ts";
import { StubCluster } from "../../support/stub-cluster.ts";

let cluster: StubCluster;
beforeAll(async () => {
  cluster = await StubCluster.start();
});
beforeEach(() => {
  cluster.paths.clear();
  cluster.asked.length = 0;
  serveSmallCluster(cluster);
  cluster.paths.set(PODS, { items: [agentOf("n1"), agentOf("n2")] });
});
afterAll(() => cluster.close());

const PODS = "/api/v1/namespaces/sallyport/pods";
const logOf = (node: string) => `${PODS}/agent-${node}/log`;
const NOW = Date.now();
const at = (second: number) => new Date(NOW - 60_000 + second * 1000).toISOString();
const OWN = '{"level":"info","time":"2026-01-01T00:00:00.000Z","event":"ready"}';

function line(second: number, pod: string, more: object = {}): string {
  const [namespace, name] = pod.split("/");
  const workload = { namespace, name, labels: {}, serviceAccount: "default", node: "n" };
  const destination = { address: "192.0.2.1", name: "a.example.com", port: 443 };
  return JSON.stringify({
    time: at(second),
    event: "decision",
    flowId: `f-${second}`,
    workload,
    destination,
    action: "Allow",
    ...more,
  });
}
const text = (...lines: string[]) => lines.map((one) => `${one}\n`).join("");
const logs = () => cluster.asked.filter(({ url }) => url.pathname.endsWith("/log"));
const ids = (stdout: string) =>
  stdout
    .split("\n")
    .filter(Boolean)
    .map((one) => JSON.parse(one).flowId);

describe("what was", () => {
  test("of all nodes in order of time, without the agents' own log; what is no record is counted", async () => {
    cluster.paths.set(logOf("n1"), text(OWN, line(1, "ns/app"), line(5, "ns/app", { action: "Deny" }), "half a li"));
    cluster.paths.set(logOf("n2"), text(line(3, "ns/other"), line(4, "elsewhere/x")));
    const all = await cluster.plugin("flows", "-n", "ns", "-o", "json");
    expect(all.status).toBe(0);
    expect(ids(all.stdout)).toEqual(["f-1", "f-3", "f-5"]);
    expect(all.stderr).toBe("sallyport: 1 line is no flow record\n");
    expect(ids((await cluster.plugin("flows", "-A", "--denied", "-o", "json")).stdout)).toEqual(["f-5"]);
    expect(
      ids((await cluster.plugin("flows", "-A", "--to", "*.example.com", "--tail", "2", "-o", "json")).stdout),
    ).toEqual(["f-4", "f-5"]);
    expect((await cluster.plugin("flows", "-A", "-o", "wide")).stdout).toMatch(/^NODE +TIME/);
    const sum = await cluster.plugin("flows", "-A", "--summary", "-o", "json");
    expect(JSON.parse(sum.stdout)).toMatchObject({ allowed: 3, denied: 1 });
  });

  test("of one pod only its node is asked, and no further back than was asked for", async () => {
    cluster.paths.set(logOf("n1"), text(line(1, "ns/app"), line(2, "ns/free")));
    cluster.paths.set(PODS, { items: [agentOf("n1")] });
    expect(ids((await cluster.plugin("flows", "ns/app", "--since", at(-600), "-o", "json")).stdout)).toEqual(["f-1"]);
    const list = cluster.asked.find(({ url }) => url.pathname === PODS)!;
    expect(list.url.searchParams.get("fieldSelector")).toBe("spec.nodeName=n1");
    const [{ url } = { url: new URL("https://none") }] = logs();
    expect(url.searchParams.get("container")).toBe("agent");
    expect(url.searchParams.get("tailLines")).toBe("100000");
    expect(url.searchParams.get("sinceTime")).toBe(at(-600).replace(/\.\d+/, ""));
  });

  test("a node whose log cannot be read is said, and the others are shown", async () => {
    cluster.paths.set(logOf("n1"), text(line(1, "ns/app")));
    const { status, stdout, stderr } = await cluster.plugin("flows", "-A", "-o", "json");
    expect({ status, ids: ids(stdout) }).toEqual({ status: 0, ids: ["f-1"] });
    expect(stderr).toContain("node `n2`: its log cannot be read (HTTP 404");
  });

  test.each<readonly [string, () => void, readonly string[], string]>([
    [
      "no right",
      () => cluster.forbid(logOf("n1")),
      ["flows", "-A"],
      "ask for the Role `sallyport-flows` in the namespace `sallyport`",
    ],
    [
      "a log in a file",
      () => cluster.paths.set(PODS, { items: [agentOf("n1", { flows: "/var/log/f" })] }),
      ["flows", "-A"],
      "`/var/log/f` on their node",
    ],
    [
      "no log",
      () => cluster.paths.set(PODS, { items: [agentOf("n1", { flows: null })] }),
      ["flows", "-A"],
      "set `agent.flows` of the chart",
    ],
    [
      "no agent",
      () => cluster.paths.set(PODS, { items: [] }),
      ["flows", "-A"],
      "no agent runs in namespace `sallyport`",
    ],
    ["a sum without an end", () => undefined, ["flows", "-f", "--summary"], "leave `--summary` out"],
    [
      "too many to follow",
      () => cluster.paths.set(PODS, { items: Array.from({ length: 65 }, (_, i) => agentOf(`n${i}`)) }),
      ["flows", "-A", "-f"],
      "at most 64 are followed",
    ],
  ])("%s", async (_, change, words, message) => {
    change();
    const { status, stderr } = await cluster.plugin(...words);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});

describe("what comes", () => {
  test("goes on where a log broke off, tells nothing twice, and ends with Ctrl-C", async () => {
    const opened: Asked[] = [];
    cluster.paths.set(PODS, { items: [agentOf("n1")] });
    cluster.paths.set(logOf("n1"), (asked) => {
      opened.push(asked);
      asked.stream.respond({ ":status": 200, "content-type": "text/plain" });
      asked.stream.write(text(line(1, "ns/app"), line(2, "ns/app")));
      if (opened.length === 1) asked.stream.end();
      else asked.stream.write(text(line(3, "ns/app")));
    });
    const { child, ended, stdout } = cluster.start("flows", "-A", "-f", "--since", "10m", "-o", "json");
    await expect.poll(() => stdout(), { timeout: 50_000 }).toContain("f-3");
    child.kill("SIGINT");
    const { status, stdout: whole } = await ended;
    expect(status).toBe(0);
    expect(ids(whole)).toEqual(["f-1", "f-2", "f-3"]);
    expect(opened[1]?.url.searchParams.get("sinceTime")).toBe(at(2).replace(/\.\d+/, ""));
    expect(opened[0]?.url.searchParams.get("follow")).toBe("true");
  }, 60_000);
});

const record = (second: number): FlowRecord => ({ time: at(second), event: "decision" });

test("the newest are kept, however many come", () => {
  const newest = new NewestRecords(3);
  for (let i = 0; i < 1_000; i++) newest.add(record((i * 7) % 1_000));
  expect(newest.records.map(({ time }) => time)).toEqual([at(997), at(998), at(999)]);
  expect(newest.leftOut).toBe(997);
});

test("records wait half a second for earlier ones of other nodes", () => {
  const order = new TimeOrder();
  order.add(record(2), 0);
  order.add(record(3), 0);
  order.add(record(1), 400);
  expect(order.take(499)).toEqual([]);
  // The earliest is young: the others wait with it.
  expect(order.take(800)).toEqual([]);
  expect(order.take(900).map(({ time }) => time)).toEqual([at(1), at(2), at(3)]);
  order.add(record(9), 1_000);
  expect(order.take(1_000, true)).toHaveLength(1);
});

test("a reader that is slow is waited for", () => {
  const order = new TimeOrder();
  for (let i = 0; i < 10_000; i++) order.add(record(i), 0);
  expect(order.full).toBe(true);
  expect(order.take(0)).toHaveLength(10_000);
  expect(order.full).toBe(false);
});
