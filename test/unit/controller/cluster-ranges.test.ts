import { expect, test } from "vitest";
import { rangesOf } from "../../../src/agent/cluster/ranges.ts";
import { podRangesOf, roundedNodes } from "../../../src/controller/cluster-ranges.ts";

const node = (...podCIDRs: unknown[]) => ({ spec: { podCIDR: podCIDRs[0], podCIDRs } });

test("the pods of all nodes are told in the fewest ranges; what is none is left out", () => {
  const nodes = [
    node("10.244.0.0/24", "fd00:244::/64"),
    node("10.244.1.0/24", "fd00:244:0:1::/64"),
    node("10.244.4.0/24"),
    { spec: {} },
    node("half written", 7),
  ];
  const text = podRangesOf(nodes);
  expect(text).toBe("10.244.0.0/23\n10.244.4.0/24\nfd00:244::/63");
  expect(rangesOf({ data: { podCIDRs: text } })).toEqual(["10.244.0.0/23", "10.244.4.0/24", "fd00:244::/63"]);
  expect(rangesOf({})).toEqual([]);
});

test("no node can make more than its pods inside", () => {
  const nodes = ["0.0.0.0/0", "128.0.0.0/1", "8.0.0.0/15", "::/0", "2000::/3", "2001:db8::/47"].map((range) =>
    node(range),
  );
  expect(podRangesOf(nodes)).toBe("");
  expect(podRangesOf([node("10.42.0.0/16", "2001:db8::/48")])).toBe("10.42.0.0/16\n2001:db8::/48");
});

test.each([
  [0, 0, 1],
  [5, 0, 8],
  [8, 8, 8],
  [9, 8, 16],
  [5, 16, 16],
  [4, 16, 4],
  [5_000, 0, 8192],
])("%d nodes, after %d were told, are told as %d", (count, told, expected) => {
  expect(roundedNodes(count, told)).toBe(expected);
});
