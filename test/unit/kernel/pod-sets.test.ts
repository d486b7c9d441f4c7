import { describe, expect, test } from "vitest";
import { holdsPodSet, podSetsChange } from "../../../src/kernel/pod-sets.ts";
import { NO_SETS, type RulesetSets } from "../../../src/kernel/ruleset-sets.ts";
import { parseAddress } from "../../../src/net/address.ts";
import { parseCidr } from "../../../src/net/cidr.ts";

const addresses = (...texts: string[]) => texts.map((text) => parseAddress(text)!);
const hex = (keys: readonly Uint8Array[]) => keys.map((key) => Buffer.from(key).toString("hex"));
const range = (text: string) => {
  const result = parseCidr(text);
  if (!result.ok) throw new Error(result.problem);
  return result.cidr;
};
const before: RulesetSets = {
  ...NO_SETS,
  podRanges: [range("10.244.0.0/24")],
  workloads: addresses("10.244.0.2", "fd00:244::2"),
  observed: addresses("10.244.0.2"),
  podInterfaces: ["veth1"],
};

function change(after: Partial<RulesetSets>) {
  const found = podSetsChange(before, { ...before, ...after });
  return found?.sets.map(({ set, added, removed }) => ({ set, added: hex(added), removed: hex(removed) }));
}

describe("what one message changes", () => {
  test("pods that come and go, with their interfaces", () => {
    expect(
      change({
        workloads: addresses("10.244.0.3", "fd00:244::2", "fd00:244::3"),
        observed: [],
        podInterfaces: ["veth1", "veth0123456789a"],
      }),
    ).toEqual([
      { set: "workloads4", added: ["0af40003"], removed: ["0af40002"] },
      { set: "workloads6", added: ["fd000244000000000000000000000003"], removed: [] },
      { set: "observed4", added: [], removed: ["0af40002"] },
      { set: "pod_interfaces", added: [`${Buffer.from("veth0123456789a").toString("hex")}00`], removed: [] },
    ]);
  });

  test("nothing where nothing has changed, and one address once", () => {
    expect(change({})).toEqual([]);
    expect(change({ workloads: addresses("fd00:244::2", "10.244.0.2", "10.244.0.2") })).toEqual([]);
  });

  test("is not what changes other sets too, nor more than it holds", () => {
    expect(change({ workloads: [], podRanges: [] })).toBeUndefined();
    expect(change({ asideUntil: Date.now() + 1e9 })).toBeUndefined();
    const many = (count: number) => Array.from({ length: count }, (_, n) => parseAddress(`10.1.${n >> 8}.${n & 255}`)!);
    expect(change({ workloads: [...before.workloads, ...many(256)] })?.[0]?.added.length).toBe(256);
    expect(change({ workloads: [...before.workloads, ...many(257)] })).toBeUndefined();
  });
});

test.each<[set: string, listed: unknown[], holds: boolean]>([
  ["workloads4", ["10.244.0.2"], true],
  ["workloads4", ["10.244.0.2", "10.244.0.3"], false],
  ["workloads4", [], false],
  ["workloads4", [{ elem: { val: "10.244.0.2", comment: "x" } }], false],
  ["workloads6", ["fd00:244:0:0::2"], true],
  ["observed6", [], true],
  ["observed6", ["fd00:244::2"], false],
  ["pod_interfaces", ["veth1"], true],
  ["pod_interfaces", ["veth2"], false],
  ["inside4", ["whatever"], true],
])("%s holds %j: %s", (set, listed, holds) => {
  expect(holdsPodSet(before, set, listed)).toBe(holds);
});
