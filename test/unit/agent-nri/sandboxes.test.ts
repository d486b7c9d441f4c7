import { beforeEach, describe, expect, test } from "vitest";
import { Sandboxes } from "../../../src/agent/nri/sandboxes.ts";
import { formatAddress, parseAddress } from "../../../src/net/address.ts";
import type { PodSandbox } from "../../../src/nri/messages.ts";
import { IdentityTable } from "../../../src/workloads/identity.ts";
import { ClusterWorkloads } from "../../../src/workloads/kube-objects.ts";
import type { Fields } from "../../../src/workloads/pod.ts";

interface Choice {
  readonly ips?: readonly string[];
  readonly phase?: string;
  readonly leaving?: boolean;
  readonly hostNetwork?: boolean;
}

function object(
  uid: string,
  { ips = [], phase = "Pending", leaving = false, hostNetwork = false }: Choice = {},
): Fields {
  return {
    metadata: { uid, name: uid, namespace: "team", ...(leaving ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}) },
    spec: { nodeName: "n", hostNetwork },
    status: { phase, podIPs: ips.map((ip) => ({ ip })) },
  };
}

function sandbox(uid: string, id: string, ...ips: string[]): PodSandbox {
  const addresses = ips.map((ip) => parseAddress(ip)!);
  return { id, uid, namespace: "team", name: uid, source: "api", pid: 7, addresses };
}

const A = "10.244.0.7";
const B = "10.244.0.8";
const B6 = "fd00:244::8";

let sandboxes: Sandboxes;
let disagreements: string[];
let workloads: ClusterWorkloads;

/** Whose each address is, by the way from API objects to workloads that the agent goes. */
function owners(...pods: readonly Fields[]): Record<string, string> {
  const namespace = { value: { metadata: { name: "team" } } };
  const snapshot = workloads.read(
    pods,
    () => namespace,
    (known) => sandboxes.settle(known),
  );
  return Object.fromEntries(snapshot.workloads.flatMap((one) => one.addresses.map((a) => [formatAddress(a), one.uid])));
}

beforeEach(() => {
  disagreements = [];
  workloads = new ClusterWorkloads(new IdentityTable());
  sandboxes = new Sandboxes(({ uid }, told) => disagreements.push(`${uid} ${told.map(formatAddress).join()}`));
});

describe("the address of a pod", () => {
  test("is that of its sandbox until its object has one", () => {
    sandboxes.run(sandbox("p", "s", A, B6));
    expect(owners(object("p"))).toEqual({ [A]: "p", [B6]: "p" });
    expect(owners(object("p", { ips: [A, B6] }))).toEqual({ [A]: "p", [B6]: "p" });
    expect(disagreements).toEqual([]);
  });

  test("is nobody's while there is no object of the pod", () => {
    sandboxes.run(sandbox("p", "s", A));
    expect(owners(object("other"))).toEqual({});
    expect(sandboxes.settledOf("p")).toBeNull();
    expect(owners(object("other"), object("p"))).toEqual({ [A]: "p" });
  });

  test("is the API server's where it tells another one, and that is said once", () => {
    sandboxes.run(sandbox("p", "s", A));
    expect(owners(object("p", { ips: [B] }))).toEqual({ [B]: "p" });
    expect(owners(object("p", { ips: [B] }))).toEqual({ [B]: "p" });
    expect(disagreements).toEqual([`p ${A}`]);
    expect(sandboxes.disagreements).toBe(1);
  });

  test("is not more than the API server tells, once it tells one of them", () => {
    sandboxes.run(sandbox("p", "s", A, B6));
    expect(owners(object("p", { ips: [A] }))).toEqual({ [A]: "p" });
    expect(disagreements).toEqual([]);
  });

  test.each<[what: string, choice: Choice]>([
    ["on the host's network", { hostNetwork: true }],
    ["that is over", { phase: "Failed" }],
  ])("is none of a pod %s", (_, choice) => {
    sandboxes.run(sandbox("p", "s", A));
    expect(owners(object("p", choice))).toEqual({});
    expect(sandboxes.settledOf("p")).toEqual({ byAddress: false, addresses: [] });
  });
});

describe("a sandbox that is gone", () => {
  test("takes its address along, whatever the object still says", () => {
    sandboxes.run(sandbox("p", "s", A));
    sandboxes.stop(sandbox("p", "s", A));
    expect(owners(object("p", { ips: [A] }))).toEqual({});
  });

  test("is no network that gives its pod no address", () => {
    const notEnforced = (...pods: Fields[]) => {
      const namespace = { value: { metadata: { name: "team" } } };
      return workloads
        .read(
          pods,
          () => namespace,
          (known) => sandboxes.settle(known),
        )
        .notEnforced.map(({ why }) => why);
    };
    const told = object("p", { ips: [A], phase: "Running" });
    const untold = object("p", { phase: "Running" });
    expect(notEnforced(untold)).toEqual(["NoAddress"]);
    sandboxes.run(sandbox("p", "s", A));
    expect(notEnforced(told)).toEqual([]);
    expect(notEnforced(untold)).toEqual([]);
    sandboxes.stop(sandbox("p", "s", A));
    expect(notEnforced(told)).toEqual([]);
    expect(notEnforced(untold)).toEqual(["NoAddress"]);
  });

  test("leaves the address to the next pod at once", () => {
    sandboxes.run(sandbox("p", "s", A));
    expect(owners(object("p", { ips: [A] }))).toEqual({ [A]: "p" });
    sandboxes.stop(sandbox("p", "s"));
    sandboxes.run(sandbox("q", "t", A));
    expect(owners(object("p", { ips: [A] }), object("q"))).toEqual({ [A]: "q" });
    sandboxes.stop(sandbox("p", "s"));
    expect(owners(object("p", { ips: [A] }), object("q", { ips: [A] }))).toEqual({ [A]: "q" });
  });

  test("makes room for the pod's next one, at another address or the same", () => {
    sandboxes.run(sandbox("p", "s", A));
    sandboxes.stop(sandbox("p", "s"));
    sandboxes.run(sandbox("p", "t", B));
    expect(owners(object("p", { ips: [A] }))).toEqual({ [B]: "p" });
    sandboxes.stop(sandbox("p", "t"));
    sandboxes.run(sandbox("p", "u", A));
    expect(owners(object("p", { ips: [A] }))).toEqual({ [A]: "p" });
    expect(disagreements).toEqual([]);
  });

  test("that was not known says nothing: its pod may run at that address again", () => {
    sandboxes.stop(sandbox("p", "old", A));
    expect(owners(object("p", { ips: [A] }))).toEqual({ [A]: "p" });
    sandboxes.run(sandbox("p", "new", A));
    sandboxes.stop(sandbox("p", "old", A));
    expect(owners(object("p", { ips: [A] }))).toEqual({ [A]: "p" });
  });

  test("is forgotten with its pod", () => {
    sandboxes.run(sandbox("p", "s", A));
    sandboxes.stop(sandbox("p", "s"));
    owners();
    expect(owners(object("p", { ips: [A] }))).toEqual({ [A]: "p" });
  });
});

describe("two pods that claim one address", () => {
  test("get it both not: what the API server tells of one that stays is no less than what the runtime tells", () => {
    sandboxes.run(sandbox("q", "t", A));
    expect(owners(object("p", { ips: [A] }), object("q"))).toEqual({});
    expect(owners(object("p", { ips: [A], leaving: true }), object("q"))).toEqual({ [A]: "q" });
  });

  test("of the runtime: neither has it, until the sandbox of one is gone, or that pod is", () => {
    sandboxes.run(sandbox("p", "s", A));
    sandboxes.run(sandbox("q", "t", A));
    expect(owners(object("p"), object("q"))).toEqual({});
    expect(owners(object("p", { ips: [A] }), object("q"))).toEqual({});
    expect(owners(object("p", { ips: [A], leaving: true }), object("q"))).toEqual({ [A]: "q" });
    sandboxes.stop(sandbox("q", "t"));
    expect(owners(object("p", { ips: [A] }), object("q", { ips: [A] }))).toEqual({ [A]: "p" });
    sandboxes.run(sandbox("q", "u", A));
    sandboxes.stop(sandbox("p", "s"));
    expect(owners(object("p", { ips: [A] }), object("q"))).toEqual({ [A]: "q" });
  });

  test("of one pod: the last sandbox has it", () => {
    sandboxes.run(sandbox("p", "s", A, B6));
    sandboxes.run(sandbox("p", "t", A, B));
    expect(sandboxes.running).toBe(1);
    sandboxes.stop(sandbox("p", "s"));
    expect(owners(object("p", { ips: [A, B6] }))).toEqual({ [A]: "p" });
    expect(owners(object("p"))).toEqual({ [A]: "p", [B]: "p" });
  });
});

describe("a list of all", () => {
  test("takes the place of what was known, and what is doubtful in it says nothing", () => {
    sandboxes.run(sandbox("old", "o", B));
    const dead = { ...sandbox("dead", "d", "10.244.0.20"), pid: 0 };
    sandboxes.replace([
      ...[sandbox("p", "s", A), dead, sandbox("host", "h")],
      ...[sandbox("twice", "a", "10.244.0.21"), sandbox("twice", "b", "10.244.0.22")],
      ...[sandbox("x", "x", "10.244.0.23"), sandbox("y", "y", "10.244.0.23")],
    ]);
    const pods = ["old", "p", "dead", "host", "twice", "x", "y"].map((uid) => object(uid));
    expect(owners(...pods)).toEqual({ [A]: "p" });
    expect(sandboxes.running).toBe(1);
    expect(owners(object("x", { ips: ["10.244.0.23"] }))).toEqual({ "10.244.0.23": "x" });
  });

  test("is forgotten when nobody tells any more", () => {
    sandboxes.run(sandbox("p", "s", A));
    sandboxes.clear();
    expect(owners(object("p"))).toEqual({});
  });

  test("is bounded", () => {
    for (let n = 0; n < 5_000; n++) sandboxes.run(sandbox(`p${n}`, "s", `10.1.${n >> 8}.${n & 255}`));
    expect(sandboxes.running).toBe(4_096);
    for (let n = 0; n < 500; n++) {
      sandboxes.run(sandbox("p0", `s${n}`, `10.2.${n >> 8}.${n & 255}`));
      sandboxes.stop(sandbox("p0", `s${n}`));
    }
    const claimed = object("p0", { ips: ["10.2.1.243", "10.2.0.1"] });
    // The last ones that went are remembered.
    expect(owners(claimed)).toEqual({ "10.2.0.1": "p0" });
  });
});
