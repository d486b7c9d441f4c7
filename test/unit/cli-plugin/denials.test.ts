import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { GROUP, podOf, reportOf, serveSmallCluster } from "../../support/plugin-objects.ts";
import { StubCluster } from "../../support/stub-cluster.ts";

let cluster: StubCluster;
beforeAll(async () => {
  cluster = await StubCluster.start();
});
beforeEach(() => {
  cluster.paths.clear();
  serveSmallCluster(cluster);
});
afterAll(() => cluster.close());

const plugin = async (...words: string[]) => (await cluster.plugin(...words)).stdout;
const json = async (...words: string[]) => JSON.parse(await plugin(...words, "-o", "json"));

/** `ago`: seconds since the last time. */
const denial = (pod: string, destination: string, count: number, ago: number, more: object = {}) => {
  const lastSeen = new Date(Date.now() - ago * 1000).toISOString();
  const about = { namespace: "ns", pod, podUid: `uid-ns-${pod}`, reason: "DefaultDeny", firstSeen: lastSeen, lastSeen };
  return { ...about, destination, count, ...more };
};
const RULE = { reason: "RuleMatched", policy: "ClusterEgressPolicy/app", rule: "no-ssh" };

function serve(denials: readonly object[], more: object = {}): void {
  const policies = [{ kind: "ClusterEgressPolicy", name: "app", uid: "uid-app" }];
  const report = reportOf("n1", policies, { denials, ...more });
  cluster.paths.set(`${GROUP}/egressnodestatuses`, { items: [report] });
  cluster.paths.set(`${GROUP}/egressnodestatuses/n1`, report);
}

describe("what a pod was denied lately", () => {
  beforeEach(() =>
    serve([
      denial("app", "TCP 192.0.2.1:22", 3, 90, RULE),
      denial("app", "DNS evil\u001b[31m.example", 1, 5),
      denial("free", "ICMP 192.0.2.2", 7, 1),
      denial("app", "TCP 192.0.2.3:80", 9, 2, { podUid: "of-a-pod-before" }),
    ]),
  );

  test.each([
    ["why", ["why", "ns/app", "tcp://192.0.2.9:22"]],
    ["policies", ["policies", "ns/app"]],
  ])("`%s` shows it, the newest first, and of no other pod", async (_, words) => {
    expect((await json(...words)).denials).toMatchObject([
      { destination: "DNS evil\u001b[31m.example", reason: "DefaultDeny", policy: null, rule: null, count: 1 },
      { destination: "TCP 192.0.2.1:22", ...RULE, count: 3 },
    ]);
    const text = await plugin(...words);
    expect(text).toMatch(/^DENIED LATELY +REASON +BY +TIMES +LAST$/m);
    expect(text).toMatch(/^TCP 192\.0\.2\.1:22 +RuleMatched +ClusterEgressPolicy\/app no-ssh +3 +1 min \d+ s ago$/m);
    expect(text).toMatch(/^DNS evil\S*\.example +DefaultDeny +- +1 +\d+ s ago$/m);
    expect(text).not.toContain("\u001b");
    expect(text).not.toMatch(/192\.0\.2\.[23]/);
  });

  test("also where no policy selects it, and nothing where there was none", async () => {
    expect(await plugin("policies", "ns/free")).toMatch(/may connect to everything\.\n\nDENIED LATELY .*\nICMP/);
    cluster.paths.set("/api/v1/namespaces/ns/pods/new", podOf("ns", "new"));
    expect((await json("policies", "ns/new")).denials).toEqual([]);
    expect(await plugin("policies", "ns/new")).not.toContain("DENIED");
  });

  test("`status` sums it up, and names who was denied most", async () => {
    expect((await json("status")).denials).toMatchObject({
      count: 20,
      pods: 3,
      most: [
        { pod: "ns/app", count: 9 },
        { pod: "ns/free", count: 7 },
        { pod: "ns/app", count: 4 },
      ],
    });
    expect(await plugin("status")).toMatch(/^denials +20 lately, of 3 pods: ns\/app 9, ns\/free 7, ns\/app 4$/m);
  });
});

test("`status` counts what agents had no room for, and says none where there is none", async () => {
  serve([denial("app", "TCP 192.0.2.1:22", 3, 90)], { denialsLeftOut: 40 });
  expect(await plugin("status")).toMatch(/^denials +43 lately, of 1 pod: ns\/app 3$/m);
  serve([]);
  expect(await plugin("status")).toMatch(/^denials +none lately$/m);
});

test("`status` says what the agent of a node wants looked at", async () => {
  const message = "Nodes say that 203.0.113.0/24 are their pods'";
  const about = { type: "PodRangesInside", reason: "PublicAddresses", lastTransitionTime: "2026-01-01T00:00:00Z" };
  serve([], { conditions: [{ ...about, status: "False", message }] });
  expect((await json("status")).nodes.list).toMatchObject([{ node: "n1", ready: true, remarks: [message] }]);
  expect(await plugin("status")).toMatch(/^n1 +yes .*Nodes say that 203\.0\.113\.0\/24/m);
  const runtime = { ...about, type: "RuntimeConnected", reason: "NotConnected", message: "no such socket" };
  serve([], { conditions: [{ ...runtime, status: "False" }] });
  expect(await plugin("status")).toMatch(/^n1 +yes .*no such socket/m);
  serve([], { conditions: [{ ...runtime, status: "True" }] });
  expect((await json("status")).nodes.list).toMatchObject([{ remarks: [] }]);
});
