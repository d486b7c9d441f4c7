import { describe, expect, test } from "vitest";
import { canonicalTable } from "../../../src/kernel/nftables.ts";
import { type RulesetSpec, renderRefill, renderRuleset, TABLE } from "../../../src/kernel/ruleset.ts";
import { NO_SETS, type RulesetSets, renderSetUpdate } from "../../../src/kernel/ruleset-sets.ts";
import { renderQueueChain } from "../../../src/kernel/xtables.ts";
import { parseAddress } from "../../../src/net/address.ts";
import { parseCidr } from "../../../src/net/cidr.ts";

const addresses = (...texts: string[]) => texts.map((text) => parseAddress(text)!);
const ranges = (...texts: string[]) =>
  texts.map((text) => {
    const result = parseCidr(text);
    if (!result.ok) throw new Error(result.problem);
    return result.cidr;
  });

const sets: RulesetSets = {
  podRanges: ranges("10.244.0.0/24", "fd00:244::/64"),
  workloads: addresses("10.244.0.2", "10.244.0.3", "fd00:244::2"),
  observed: addresses("10.244.0.3"),
  inside: ranges("10.244.0.0/16", "10.96.0.0/12", "fd00:244::/48"),
  internalEndpoints: [
    { address: parseAddress("192.0.2.100")!, protocol: 6, port: 6443 },
    { address: parseAddress("2001:db8::100")!, protocol: 6, port: 6443 },
  ],
  resolvers: addresses("10.96.0.10", "fd00:96::10"),
  podInterfaces: ["veth0a1b2c", 'bad"name'],
  bypass: [],
  asideUntil: 0,
};

const spec: RulesetSpec = {
  markMask: 0x3f,
  method: "xtables",
  queueNumber: 5100,
  generation: 0,
  other: false,
  podLinks: [],
  failMode: "Closed",
  sets,
};

describe("the nft text", () => {
  test.each([
    ["xtables", spec],
    ["native", { ...spec, method: "native" }],
    ["native-open-shifted", { ...spec, method: "native", failMode: "Open", markMask: 0x3f000000, sets: NO_SETS }],
    ["native-links", { ...spec, method: "native", podLinks: ["eni*", "cali0a"], sets: NO_SETS }],
    ["native-host-pods", { ...spec, method: "native", hostPods: true, sets: NO_SETS }],
    ["native-taking-over", { ...spec, method: "native", generation: 1, other: true, sets: NO_SETS }],
  ] as [string, RulesetSpec][])("%s", async (name, value) => {
    await expect(renderRuleset(value)).toMatchFileSnapshot(`golden/${name}.nft`);
  });

  test("the queueing rules of xtables", async () => {
    await expect(renderQueueChain(spec)).toMatchFileSnapshot("golden/xtables.rules");
    expect(renderQueueChain(spec, "security").split("\n")).toEqual(
      renderQueueChain(spec).replace("*mangle", "*security").split("\n"),
    );
    const takingOver = { ...spec, generation: 1, other: true } as const;
    await expect(renderQueueChain(takingOver)).toMatchFileSnapshot("golden/xtables-taking-over.rules");
  });

  test("a refill takes no hook away", () => {
    const text = renderRefill(spec);
    expect(text).not.toMatch(/delete/);
    const sets = [...text.matchAll(/^flush set inet sallyport (\w+)$/gm)].map((match) => match[1]);
    // Those of floods keep what they hold: their elements are not from here.
    const defined = [...text.matchAll(/^\s+set (\w+) \{\n\s+type [^\n]+\n(?!\s+flags dynamic,timeout)/gm)];
    expect(sets).toEqual(defined.map((match) => match[1]));
    expect(text.split("table inet sallyport {")[1]).toBe(renderRuleset(spec).split("table inet sallyport {")[1]);
  });

  test("a refill says what shape it counts on, which no setting of a node changes", () => {
    const shapes = [
      spec,
      { ...spec, method: "native", failMode: "Open", markMask: 0x3f000000, sets: NO_SETS } as const,
      { ...spec, podLinks: ["eni*"], generation: 1, other: true, queueNumber: 99 } as const,
    ].map((value) => /^flush chain inet sallyport (shape_\w+)$/m.exec(renderRefill(value))?.[1]);
    expect(new Set(shapes).size).toBe(1);
    expect(renderRuleset(spec)).toContain(`  chain ${shapes[0]} {\n  }\n`);
  });

  test("every ruleset takes the answers of both generations", () => {
    for (const generation of [0, 1] as const) {
      const text = renderRuleset({ ...spec, generation });
      expect(text).toMatch(/0x12 : goto answer_look_1, 0x1a : goto answer_confirm_1, 0x14 : goto answer_http_1/);
      expect(text).toMatch(/0x2 : goto answer_look, 0xa : goto answer_confirm/);
    }
  });

  test("replaces the table in one transaction", () => {
    expect(renderRuleset(spec)).toMatch(
      /^add table inet sallyport\ndelete table inet sallyport\ntable inet sallyport \{\n/,
    );
  });

  test("every chain that is led to exists, and every chain is led to or is a hook", () => {
    for (const method of ["native", "xtables"] as const) {
      const text = renderRuleset({ ...spec, method });
      const chains = new Set([...text.matchAll(/chain (\w+) \{/g)].map((match) => match[1]));
      const targets = new Set([...text.matchAll(/(?:goto|jump) (\w+)/g)].map((match) => match[1]));
      const hooks = new Set([...text.matchAll(/chain (\w+) \{\n\s+type filter hook/g)].map((match) => match[1]));
      expect([...targets].filter((name) => !chains.has(name))).toEqual([]);
      const unused = [...chains].filter((name) => !targets.has(name) && !hooks.has(name));
      expect(unused).toEqual([expect.stringMatching(/^shape_[0-9a-f]{16}$/)]);
    }
  });

  test("an observed queue always bypasses, a strict one only when it fails open", () => {
    expect(renderQueueChain(spec)).toMatch(/--queue-num 5100\n/);
    expect(renderQueueChain({ ...spec, failMode: "Open" })).toMatch(/--queue-num 5100 --queue-bypass\n/);
    expect(renderRuleset({ ...spec, method: "native" })).toMatch(/queue num 5100\n/);
  });
});

describe("set updates", () => {
  test("nothing to do is an empty text", () => {
    expect(renderSetUpdate(TABLE, sets, { ...sets, workloads: [...sets.workloads].reverse() })).toBe("");
  });

  test("single elements come and go; ranges are replaced", () => {
    const after = {
      ...sets,
      workloads: addresses("10.244.0.3", "10.244.0.4", "fd00:244::2"),
      inside: ranges("10.244.0.0/16"),
    };
    expect(renderSetUpdate(TABLE, sets, after)).toBe(
      [
        "delete element inet sallyport workloads4 { 10.244.0.2 }",
        "add element inet sallyport workloads4 { 10.244.0.4 }",
        "flush set inet sallyport inside4",
        "add element inet sallyport inside4 { 10.244.0.0/16 }",
        "flush set inet sallyport inside6",
        "",
      ].join("\n"),
    );
  });
});

describe("what passes for a while", () => {
  const NOW = 1_000_000;
  const bypassed = {
    ...sets,
    bypass: [
      { cidr: ranges("10.244.0.0/24")[0]!, until: NOW + 60_000 },
      { cidr: ranges("10.9.9.9/32")[0]!, until: NOW - 1 },
    ],
    asideUntil: NOW + 1_500,
  };

  test("ends by itself: every element has its own time, and none is put in again that is over", () => {
    const text = renderRuleset({ ...spec, sets: bypassed }, NOW);
    expect(text).toContain("      10.244.0.0/24 timeout 60000ms\n");
    expect(text).toContain("      ipv4 timeout 1500ms, ipv6 timeout 1500ms\n");
    expect(text).not.toContain("10.9.9.9");
    expect(renderRuleset({ ...spec, sets: bypassed }, NOW + 60_000)).not.toMatch(/\S timeout \d+ms/);
  });

  test("is replaced as a whole, with the time that is left; nothing to do is an empty text", () => {
    expect(renderSetUpdate(TABLE, bypassed, bypassed, NOW)).toBe("");
    expect(renderSetUpdate(TABLE, sets, bypassed, NOW + 1_000)).toBe(
      [
        "flush set inet sallyport bypass4",
        "add element inet sallyport bypass4 { 10.244.0.0/24 timeout 59000ms }",
        "flush set inet sallyport stand_aside",
        "add element inet sallyport stand_aside { ipv4 timeout 500ms, ipv6 timeout 500ms }",
        "",
      ].join("\n"),
    );
    expect(renderSetUpdate(TABLE, bypassed, sets, NOW)).toBe(
      "flush set inet sallyport bypass4\nflush set inet sallyport stand_aside\n",
    );
  });
});

test("two listings are the same where only handles and the order of elements differ", () => {
  const listing = (handle: number, elements: string[]) =>
    JSON.stringify({ nftables: [{ metainfo: { version: "1" } }, { set: { name: "a", handle, elem: elements } }] });
  expect(canonicalTable(listing(1, ["x", "y"]))).toBe(canonicalTable(listing(2, ["y", "x"])));
  expect(canonicalTable(listing(1, ["x", "y"]))).not.toBe(canonicalTable(listing(1, ["x"])));
});

test("elements of a set with timeouts come and go; the set itself does not", () => {
  const listing = (flags: string[], elements?: string[]) =>
    JSON.stringify({ nftables: [{ set: { name: "a", flags, elem: elements } }] });
  expect(canonicalTable(listing(["timeout"], ["x"]))).toBe(canonicalTable(listing(["timeout"])));
  expect(canonicalTable(listing(["timeout"]))).not.toBe(canonicalTable(JSON.stringify({ nftables: [] })));
  expect(canonicalTable(listing(["interval"], ["x"]))).not.toBe(canonicalTable(listing(["interval"])));
});
