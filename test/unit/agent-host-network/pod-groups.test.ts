import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { bootID } from "../../../src/agent/bypass/bypass-file.ts";
import { HostPods } from "../../../src/agent/host-network/host-pods.ts";
import { isOwnTree, PodGroups, unifiedTree } from "../../../src/agent/host-network/pod-groups.ts";
import type { Inputs } from "../../../src/agent/state.ts";
import { groupTag } from "../../../src/model/host-pod.ts";

const ONE = "0a1b2c3d-0000-4000-8000-000000000001";
const TWO = "0a1b2c3d-0000-4000-8000-000000000002";
/** As the kubelet calls a static pod. */
const HASH = "8f0e4c1b5a6d7e8f9a0b1c2d3e4f5a6b";
const under = (uid: string) => uid.replaceAll("-", "_");

let tree: string;
let groups: PodGroups | null = null;

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), "groups-"));
  writeFileSync(join(tree, "cgroup.controllers"), "");
});

afterEach(() => {
  groups?.close();
  groups = null;
  rmSync(tree, { recursive: true });
});

const make = (path: string) => {
  mkdirSync(join(tree, path, "container"), { recursive: true });
  return statSync(join(tree, path), { bigint: true }).ino;
};
const read = (changed = () => {}) => {
  groups = new PodGroups(tree, changed);
  return groups.read();
};

describe("groups of pods are found by the pod's UID", () => {
  test.each([
    [`kubepods/besteffort/pod${ONE}`, 3],
    [`kubepods/pod${ONE}`, 2],
    [`kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${under(ONE)}.slice`, 3],
    [`kubepods.slice/kubepods-pod${under(ONE)}.slice`, 2],
    [
      `kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod${under(ONE)}.slice`,
      4,
    ],
    [`node/kubepods/burstable/pod${ONE}`, 4],
  ])("%s", (path, level) => {
    const group = make(path);
    expect([...read()]).toEqual([[ONE, [{ group, level }]]]);
    expect(groups!.levels()).toContain(level);
  });

  test.each([
    `kubepods/burstable/pod${HASH}`,
    `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${HASH}.slice`,
  ])("of a static pod: %s", (path) => {
    const group = make(path);
    expect([...read()]).toEqual([[HASH, [{ group, level: 3 }]]]);
  });

  test("and by nothing else", () => {
    make(`system.slice/pod${ONE}`);
    make(`a/b/c/kubepods/pod${ONE}`);
    make("kubepods/besteffort/podxyz");
    make(`kubepods/besteffort/pod${HASH}0`);
    make(`kubepods/besteffort/container-of-${ONE}`);
    expect(read().size).toBe(0);
  });

  test("two of one UID are both the pod's", () => {
    const one = make(`kubepods/pod${ONE}`);
    const two = make(`kubepods/burstable/pod${ONE}`);
    expect(
      read()
        .get(ONE)
        ?.map(({ group }) => group),
    ).toEqual([one, two]);
  });

  test("one that is made is told", async () => {
    make("kubepods/besteffort");
    let told = 0;
    read(() => told++);
    make(`kubepods/besteffort/pod${TWO}`);
    await expect.poll(() => told).toBeGreaterThan(0);
  });
});

test("a tree is of version 2, by itself or beside others; one of somebody else's namespace is not ours", () => {
  expect(unifiedTree(tree)).toBe(tree);
  mkdirSync(join(tree, "hybrid/unified"), { recursive: true });
  expect(unifiedTree(join(tree, "hybrid"))).toBeNull();
  writeFileSync(join(tree, "hybrid/unified/cgroup.controllers"), "");
  expect(unifiedTree(join(tree, "hybrid"))).toBe(join(tree, "hybrid/unified"));
  expect(isOwnTree(tree)).toBe(false);
  writeFileSync(join(tree, "cgroup.procs"), `1\n${process.pid}7\n`);
  expect(isOwnTree(tree)).toBe(false);
});

describe("pods on the host's network", () => {
  const pod = (uid: string, id: number) => ({
    ...{ id, uid, namespace: "ns", name: `p${id}`, labels: {}, namespaceLabels: {}, serviceAccount: "default" },
    ...{ addresses: [], node: "n" },
  });
  const inputs = (...onHost: ReturnType<typeof pod>[]) => ({ workloads: [], onHost }) as unknown as Inputs;

  test("become workloads when their group is there, each with a number that it keeps", () => {
    const group = make(`kubepods/pod${ONE}`);
    const pods = new HostPods({ mount: tree, folder: null, changed: () => {} });
    try {
      const first = pods.add(inputs(pod(ONE, 5), pod(TWO, 6)));
      expect(first.workloads.map(({ id, host }) => [id, host])).toEqual([[5, 1]]);
      expect(first.grouped).toEqual([
        { group, level: 2, workloadId: 5, name: "ns/p5", number: 1, tag: groupTag(group) },
      ]);
      expect(pods.whyNot(ONE)).toBeNull();
      expect(pods.whyNot(TWO)).toMatch(/its control group is not found/);
      make(`kubepods/pod${TWO}`);
      expect(pods.add(inputs(pod(ONE, 5), pod(TWO, 6))).workloads.map(({ host }) => host)).toEqual([1, 2]);
      // A number is not given again at once.
      pods.add(inputs(pod(TWO, 6)));
      expect(pods.add(inputs(pod(ONE, 7), pod(TWO, 6))).workloads.map(({ host }) => host)).toEqual([3, 2]);
      pods.rulesProblem = "no rules";
      expect(pods.whyNot(ONE)).toBe("no rules");
    } finally {
      pods.close();
    }
  });

  test("are told of when their group comes", async () => {
    make("kubepods");
    let told = 0;
    const pods = new HostPods({ mount: tree, folder: null, changed: () => told++ });
    try {
      expect(pods.add(inputs(pod(ONE, 5))).workloads).toEqual([]);
      make(`kubepods/pod${ONE}`);
      await expect.poll(() => told).toBeGreaterThan(0);
    } finally {
      pods.close();
    }
  });

  test("that are held are so for the next agent, but not after the machine's next start", () => {
    const folder = mkdtempSync(join(tmpdir(), "held-"));
    const groups = [1n, 2n ** 64n - 1n].map((group) => ({ group, tag: groupTag(group) }));
    const begin = () => {
      const pods = new HostPods({ mount: tree, folder, changed: () => {} });
      pods.close();
      return pods;
    };
    const first = begin();
    expect([first.held, first.everHeld]).toEqual([[], false]);
    first.held = groups;
    const next = begin();
    expect([next.held, next.everHeld]).toEqual([groups, true]);
    const file = join(folder, "held-pods.json");
    for (const text of ['{"boot":"another","groups":["1"]}', "[", `{"boot":"${bootID()}","groups":[1,"x","-1"]}`]) {
      writeFileSync(file, text);
      expect(begin().held).toEqual([]);
    }
    rmSync(folder, { recursive: true });
  });

  describe("that are static", () => {
    const mirror = (id: number, staticUid = HASH) => ({
      ...pod(`0a1b2c3d-0000-4000-8000-00000000000${id}`, id),
      staticUid,
    });
    const add = (staticPods: boolean, ...onHost: ReturnType<typeof mirror>[]) => {
      const pods = new HostPods({ mount: tree, staticPods, folder: null, changed: () => {} });
      pods.close();
      const held = pods.add(inputs(...onHost)).grouped?.map(({ workloadId }) => workloadId) ?? [];
      return [held, ...onHost.map(({ uid }) => pods.whyNot(uid))];
    };

    test("are found by the UID that their mirror tells", () => {
      make(`kubepods/burstable/pod${HASH}`);
      expect(add(true, mirror(5))).toEqual([[5], null]);
      expect(add(true, mirror(5), mirror(6, HASH.replace("8", "9")))).toEqual([
        [5],
        null,
        expect.stringMatching(/its control group is not found/),
      ]);
    });

    test("are nobody's where two claim to be the mirror, or where none is to be believed", () => {
      make(`kubepods/burstable/pod${HASH}`);
      const claimed = expect.stringMatching(/several objects claim/);
      expect(add(true, mirror(5), mirror(6))).toEqual([[], claimed, claimed]);
      expect(add(false, mirror(5))).toEqual([[], expect.stringMatching(/agent\.staticPods/)]);
    });
  });

  test("let nothing be held where that is switched off", () => {
    const folder = mkdtempSync(join(tmpdir(), "held-"));
    writeFileSync(join(folder, "held-pods.json"), `{"boot":"${bootID()}","groups":["1"]}`);
    make(`kubepods/pod${ONE}`);
    const pods = new HostPods({ mount: null, folder, changed: () => {} });
    const given = inputs(pod(ONE, 5));
    expect([pods.off, pods.held, pods.everHeld, pods.add(given)]).toEqual([true, [], false, given]);
    expect(pods.whyNot(ONE)).toMatch(/^that is switched off/);
    pods.held = [];
    expect(existsSync(join(folder, "held-pods.json"))).toBe(false);
    rmSync(folder, { recursive: true });
    pods.close();
  });

  test("cannot be told without version 2", () => {
    const pods = new HostPods({ mount: join(tree, "nothing"), folder: null, changed: () => {} });
    const given = inputs(pod(ONE, 5));
    expect(pods.add(given)).toBe(given);
    expect(pods.whyNot(ONE)).toMatch(/^no control groups of version 2 at/);
    pods.close();
  });
});
