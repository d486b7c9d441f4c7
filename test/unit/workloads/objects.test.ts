import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { formatAddress } from "../../../src/net/address.ts";
import { readPlainDocuments } from "../../../src/policy/source.ts";
import { IdentityTable } from "../../../src/workloads/identity.ts";
import { readWorkloads, type WorkloadSnapshot } from "../../../src/workloads/objects.ts";

interface PodText {
  readonly metadata?: object;
  readonly spec?: object;
  readonly status?: object;
}

const pod = (name: string, ip: string | null, { metadata, spec, status }: PodText = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "ns", uid: `uid-${name}`, ...metadata },
  spec: { serviceAccountName: "account", nodeName: "node1", ...spec },
  status: { phase: "Running", ...(ip === null ? {} : { podIP: ip, podIPs: [{ ip }] }), ...status },
});
const namespace = (name: string, labels?: object) => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels },
});
const NS = namespace("ns", { team: "a" });

const list = (...items: object[]) =>
  stringify({ apiVersion: "v1", items, kind: "List", metadata: { resourceVersion: "" } });

function read(text: string, identities = new IdentityTable()): WorkloadSnapshot {
  const result = readWorkloads(text, identities);
  if (!result.ok) throw new Error(result.problem);
  return result.snapshot;
}

/** `name address,address` of each workload. */
const shown = ({ workloads }: WorkloadSnapshot) =>
  workloads.map(({ name, addresses }) => `${name} ${addresses.map(formatAddress).join()}`);

test("a pod and its namespace", () => {
  const both = { podIPs: [{ ip: "10.0.0.1" }, { ip: "2001:db8::1" }] };
  const { workloads, problems, notEnforced } = read(
    list(pod("a", "10.0.0.1", { metadata: { labels: { app: "x" } }, status: both }), NS),
  );
  expect(workloads).toEqual([
    {
      id: 1,
      uid: "uid-a",
      namespace: "ns",
      name: "a",
      labels: { app: "x" },
      namespaceLabels: { team: "a", "kubernetes.io/metadata.name": "ns" },
      serviceAccount: "account",
      node: "node1",
      addresses: [
        { w0: 0, w1: 0, w2: 0xffff, w3: 0x0a000001 },
        { w0: 0x20010db8, w1: 0, w2: 0, w3: 1 },
      ],
    },
  ]);
  expect([problems, notEnforced]).toEqual([[], []]);
});

test.each([
  ["YAML", list(NS, pod("a", "10.0.0.1"))],
  ["JSON", JSON.stringify({ apiVersion: "v1", kind: "List", items: [pod("a", "10.0.0.1"), NS] })],
  ["several documents", `${stringify(pod("a", "10.0.0.1"))}---\n${stringify(NS)}`],
  [
    "lists of one kind",
    `${JSON.stringify({ apiVersion: "v1", kind: "NamespaceList", items: [{ metadata: NS.metadata }] })}\n---\n${list(pod("a", "10.0.0.1"))}`,
  ],
])("%s", (_, text) => {
  expect(shown(read(text))).toEqual(["a 10.0.0.1"]);
});

describe("a pod with more than one interface", () => {
  const own = { name: "ptp", interface: "eth0", ips: ["10.0.0.1"], default: true };
  const other = { name: "team/lan", interface: "net1", ips: ["192.0.2.7"] };
  const read1 = (status: string) => {
    const annotations = { "k8s.v1.cni.cncf.io/network-status": status };
    return read(list(pod("a", "10.0.0.1", { metadata: { annotations } }), NS));
  };

  test("is a workload, and its other interfaces are told", () => {
    const { workloads, notEnforced } = read1(JSON.stringify([own, other]));
    expect(workloads).toMatchObject([{ name: "a" }]);
    expect(notEnforced).toMatchObject([
      { why: "OtherNetwork", pod: { id: workloads[0]?.id, name: "a" }, interfaces: ["net1 (team/lan)"] },
    ]);
  });

  test.each([
    ["its own alone", JSON.stringify([own])],
    ["half a list", "[{"],
    ["no list", '{"name":"x"}'],
    ["entries that are none", '[null, 7, {"interface":7}, {"interface":""}]'],
    ["too long a text", `[${JSON.stringify(other)}${" ".repeat(65_536)}]`],
  ])("%s says nothing", (_, status) => {
    expect(read1(status)).toMatchObject({ workloads: [{ name: "a" }], notEnforced: [] });
  });
});

test("a mirror tells the UID of its static pod, if it has the form of a hash", () => {
  const uid = "8f0e4c1b5a6d7e8f9a0b1c2d3e4f5a6b";
  const told = (mirrored: string) => {
    const metadata = { annotations: { "kubernetes.io/config.mirror": mirrored } };
    const { notEnforced } = read(list(pod("a", "192.0.2.11", { metadata, spec: { hostNetwork: true } }), NS));
    return notEnforced.map(({ pod: { staticUid } }) => staticUid);
  };
  expect([uid, "", uid.toUpperCase(), `${uid}0`, "0a1b2c3d-0000-4000-8000-000000000001"].flatMap(told)).toEqual([
    uid,
    ...Array(4).fill(undefined),
  ]);
});

describe("what is left out", () => {
  test.each([
    ["a pod that succeeded", pod("a", "10.0.0.1", { status: { phase: "Succeeded" } })],
    ["a pod that failed", pod("a", "10.0.0.1", { status: { phase: "Failed" } })],
    ["a pod without an address yet", pod("a", null, { status: { phase: "Pending" } })],
    ["an object of another kind", { ...pod("a", "10.0.0.1"), kind: "Deployment" }],
    ["an object of another group", { ...pod("a", "10.0.0.1"), apiVersion: "example.dev/v1" }],
  ])("%s, without a word", (_, object) => {
    expect(read(list(object, NS))).toMatchObject({ workloads: [], notEnforced: [], problems: [] });
  });

  test("a pod of the host network is named", () => {
    const { workloads, notEnforced } = read(list(pod("a", "192.0.2.1", { spec: { hostNetwork: true } }), NS));
    expect(workloads).toEqual([]);
    expect(notEnforced).toMatchObject([
      { why: "HostNetwork", pod: { namespace: "ns", name: "a", addresses: [], namespaceLabels: { team: "a" } } },
    ]);
  });

  test("of those is said which may send past the rules", () => {
    const raw = (...containers: object[]) =>
      read(list(pod("a", "192.0.2.1", { spec: { hostNetwork: true, containers } }), NS)).notEnforced[0]?.raw;
    const dropping = (drop: string[], more: object = {}) => ({
      securityContext: { capabilities: { drop, ...more } },
    });
    expect(raw({})).toBe(true);
    expect(raw(dropping(["ALL"]))).toBe(false);
    expect(raw(dropping(["NET_RAW"]), dropping(["ALL"], { add: ["NET_BIND_SERVICE"] }))).toBe(false);
    expect(raw(dropping(["ALL"]), {})).toBe(true);
    expect(raw(dropping(["ALL"], { add: ["NET_ADMIN"] }))).toBe(true);
    expect(raw(dropping(["ALL"], { add: "odd" }))).toBe(true);
    expect(raw({ securityContext: { privileged: true, capabilities: { drop: ["ALL"] } } })).toBe(true);
    expect(raw()).toBe(true);
  });

  test("a pod that runs without an address is named; one that is being deleted is not", () => {
    const bare = (more: object) => read(list(pod("a", null, more), NS)).notEnforced.map(({ why }) => why);
    expect(bare({ status: { phase: "Running" } })).toEqual(["NoAddress"]);
    expect(bare({ status: { phase: "Running" }, metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } })).toEqual([]);
  });

  test.each([
    [
      "a pod whose namespace is not there",
      pod("a", "10.0.0.1", { metadata: { namespace: "other" } }),
      "Pod `other/a` is left out, for its Namespace is not in the file: make it with `kubectl get pods,namespaces -A -o yaml`",
    ],
    [
      "a label that is no text",
      pod("a", "10.0.0.1", { metadata: { labels: { app: 1 } } }),
      "Pod `ns/a`: the label `app` is not text: put its value in quotes",
    ],
    ["an address that is none", pod("a", "10.0.0.256"), "Pod `ns/a`: `10.0.0.256` in its status is no IP address"],
    ["a pod without a name", pod("", "10.0.0.1"), "a Pod has no `metadata.name` or `metadata.namespace`: add them"],
    ["a namespace without a name", namespace(""), "a Namespace has no `metadata.name`: add it"],
  ])("%s is reported", (_, object, problem) => {
    expect(read(list(object, NS))).toMatchObject({ workloads: [], notEnforced: [], problems: [problem] });
  });
});

describe("an address that two pods claim", () => {
  const a = (more: PodText = {}) => pod("a", "10.0.0.1", more);
  const leaving = { metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } };

  test("belongs to the one that stays", () => {
    const snapshot = read(list(a(leaving), pod("b", "10.0.0.1"), NS));
    expect([shown(snapshot), snapshot.problems]).toEqual([["b 10.0.0.1"], []]);
  });

  test("belongs to neither where that settles nothing", () => {
    const { workloads, problems } = read(list(a(), pod("b", "10.0.0.1"), NS));
    expect(workloads).toEqual([]);
    expect(problems).toEqual([
      "the address `10.0.0.1` is claimed by `ns/a` and `ns/b`: neither gets it, and what it sends is denied; remove the stale Pod",
    ]);
    expect(read(list(a(leaving), pod("b", "10.0.0.1", leaving), NS)).workloads).toEqual([]);
  });

  test("leaves their other addresses alone", () => {
    const both = { podIPs: [{ ip: "10.0.0.1" }, { ip: "2001:db8::a" }] };
    expect(shown(read(list(a({ status: both }), pod("b", "10.0.0.1"), NS)))).toEqual(["a 2001:db8::a"]);
  });

  test("a pod that ended, or is alone in leaving, claims as before", () => {
    expect(shown(read(list(a({ status: { phase: "Failed" } }), pod("b", "10.0.0.1"), NS)))).toEqual(["b 10.0.0.1"]);
    expect(shown(read(list(a(leaving), NS)))).toEqual(["a 10.0.0.1"]);
  });
});

test("a namespace cannot call itself by another's name", () => {
  const { workloads } = read(list(pod("a", "10.0.0.1"), namespace("ns", { "kubernetes.io/metadata.name": "other" })));
  expect(workloads[0]!.namespaceLabels).toEqual({ "kubernetes.io/metadata.name": "ns" });
});

describe("ids", () => {
  const ids = (snapshot: WorkloadSnapshot) => snapshot.workloads.map(({ name, id }) => `${name}=${id}`);

  test("stay with the pod and are never given again", () => {
    const identities = new IdentityTable();
    const at = (...pods: object[]) => ids(read(list(...pods, NS), identities));
    expect(at(pod("a", "10.0.0.1"), pod("b", "10.0.0.2"))).toEqual(["a=1", "b=2"]);
    expect(at(pod("b", "10.0.0.9"))).toEqual(["b=2"]);
    expect(at(pod("a", "10.0.0.1", { metadata: { uid: "another" } }), pod("b", "10.0.0.2"))).toEqual(["a=3", "b=2"]);
    expect(at(pod("a", "10.0.0.1"))).toEqual(["a=1"]);
  });

  test("without a uid go by name and time of creation", () => {
    const identities = new IdentityTable();
    const made = (creationTimestamp: string) =>
      pod("a", "10.0.0.1", { metadata: { uid: undefined, creationTimestamp } });
    const at = (object: object) => ids(read(list(object, NS), identities));
    expect(at(made("2026-01-01T00:00:00Z"))).toEqual(["a=1"]);
    expect(at(made("2026-01-01T00:00:00Z"))).toEqual(["a=1"]);
    expect(at(made("2026-01-02T00:00:00Z"))).toEqual(["a=2"]);
  });

  test("forgotten pods come back as others", () => {
    const identities = new IdentityTable(2);
    const idOf = (uid: string) => identities.idOf({ uid, namespace: "", name: "", created: "" });
    expect(["a", "b", "a", "c", "a", "b"].map(idOf)).toEqual([1, 2, 1, 3, 1, 4]);
  });
});

describe("what cannot be read", () => {
  const MAKE = "make it with `kubectl get pods,namespaces -A -o yaml`";
  test.each([
    ["", `holds no objects: ${MAKE}`],
    ["a: [", /^not readable as YAML: /],
    ["a: 1", `not a Kubernetes object or List (half written?): ${MAKE}`],
    ["{ kind: List }", `the List has no \`items\` (half written?): ${MAKE}`],
  ])("%j", (text, problem) => {
    const result = readWorkloads(text, new IdentityTable());
    expect(result).toEqual({
      ok: false,
      problem: typeof problem === "string" ? problem : expect.stringMatching(problem),
    });
  });

  test("a List cut off anywhere is refused, for its kind comes last", () => {
    const text = list(pod("a", "10.0.0.1"), pod("b", "10.0.0.2"), NS);
    const end = text.indexOf("\nkind: List") + 1;
    for (let length = 0; length < end; length++) {
      expect(readWorkloads(text.slice(0, length), new IdentityTable()).ok, text.slice(0, length)).toBe(false);
    }
  });

  test("anything is read or refused, never thrown", () => {
    const word = fc.constantFrom(
      "kind",
      ": ",
      "List",
      "Pod",
      "\n",
      "- ",
      "  ",
      "items",
      "metadata",
      "{",
      "}",
      "[",
      "]",
      "&a ",
      "*a",
      "null",
      '"',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(word).map((words) => words.join("")),
        ),
        (text) => {
          readWorkloads(text, new IdentityTable());
        },
      ),
    );
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (metadata, spec, status) => {
        const odd = { apiVersion: "v1", kind: "Pod", metadata, spec, status };
        expect(
          readWorkloads(
            JSON.stringify({ kind: "List", items: [odd, metadata, pod("a", "10.0.0.1"), NS] }),
            new IdentityTable(),
          ).ok,
        ).toBe(true);
      }),
    );
  });
});

test("the addresses of nodes are told, whatever their pods are", () => {
  const on = (hostIPs: string[]) => ({
    status: { phase: "Running", hostIP: hostIPs[0], hostIPs: hostIPs.map((ip) => ({ ip })) },
  });
  const { nodeAddresses } = read(
    list(pod("a", "192.0.2.1", on(["198.51.100.7", "2001:db8::7"])), pod("b", "192.0.2.2", on(["198.51.100.7"])), NS),
  );
  expect(nodeAddresses.map(formatAddress)).toEqual(["198.51.100.7", "2001:db8::7"]);
});

test("a quick reader that gives up changes nothing, and one that reads neither", () => {
  const given = [
    pod("a", "10.0.0.1"),
    pod("b", null),
    pod("c", "10.0.0.1"),
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "ns", labels: { a: "1" } } },
  ];
  const text = stringify({ apiVersion: "v1", kind: "List", items: given });
  const read = (quick?: (text: string) => readonly unknown[] | null) => readWorkloads(text, new IdentityTable(), quick);
  expect(readPlainDocuments(text)).not.toBeNull();
  expect(read(readPlainDocuments)).toEqual(read());
  expect(read(() => null)).toEqual(read());
});
