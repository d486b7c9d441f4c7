import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NameTable, NOTHING_BOUND } from "../../../src/names/table.ts";
import { type Address, ipv4 } from "../../../src/net/address.ts";
import { runs } from "../../support/runs.ts";

const HOUR = 3_600_000;
const POD = 1;
const OTHER = 2;
const github = ipv4(0xc0000201);
const six: Address = { w0: 0x20010db8, w1: 0, w2: 0, w3: 7 };

function table(bindingsPerWorkload = 100, more: { namesPerAddress?: number; inUseMs?: number } = {}) {
  return new NameTable({ bindingsPerWorkload, seed: 5, ...more });
}

describe("binding", () => {
  test("a name is bound to each address of its answer, for the workload that asked", () => {
    const names = table();
    names.learn(POD, "api.github.com", ["lb.github.net"], [github, six], 60, 0);
    for (const address of [github, six]) {
      expect(names.lookup(POD, address, 1)).toEqual({ names: ["api.github.com"], aliases: ["lb.github.net"] });
      expect(names.lookup(OTHER, address, 1)).toBe(NOTHING_BOUND);
    }
    expect(names.lookup(POD, ipv4(1), 1)).toBe(NOTHING_BOUND);
    expect(names.bindings).toBe(2);
  });

  test("looking up allocates nothing: the same frozen object until something changes", () => {
    const names = table();
    names.learn(POD, "a.example", [], [github], 60, 0);
    const bound = names.lookup(POD, github, 1);
    expect(names.lookup(POD, github, 2)).toBe(bound);
    expect(Object.isFrozen(bound) && Object.isFrozen(bound.names) && Object.isFrozen(bound.aliases)).toBe(true);
    names.learn(POD, "b.example", [], [github], 60, 3);
    expect(bound.names).toEqual(["a.example"]);
    expect(names.lookup(POD, github, 4).names).toEqual(["a.example", "b.example"]);
  });

  test("several names share an address; aliases are joined", () => {
    const names = table();
    names.learn(POD, "a.example", ["cdn.example"], [github], 60, 0);
    names.learn(POD, "b.example", ["cdn.example", "edge.example"], [github], 60, 0);
    expect(names.lookup(POD, github, 1)).toEqual({
      names: ["a.example", "b.example"],
      aliases: ["cdn.example", "edge.example"],
    });
  });

  test("a later answer without the chain does not take the chain away", () => {
    const names = table();
    names.learn(POD, "a.example", ["evil.example"], [github], 60, 0);
    names.learn(POD, "a.example", [], [github], 60, 1);
    expect(names.lookup(POD, github, 2).aliases).toEqual(["evil.example"]);
    expect(names.bindings).toBe(1);
  });
});

describe("lifetime", () => {
  const rows: [string, number, number][] = [
    ["TTL 0 binds for an hour", 0, HOUR],
    ["a short TTL binds for an hour", 30, HOUR],
    ["a long TTL binds for as long as it says", 7200, 2 * HOUR],
    ["a hostile TTL binds for a week", 0xffffffff, 168 * HOUR],
  ];
  test.each(rows)("%s", (_, ttl, lifetime) => {
    const names = table();
    names.learn(POD, "a.example", [], [github], ttl, 0);
    expect(names.lookup(POD, github, lifetime - 1).names).toEqual(["a.example"]);
    expect(names.lookup(POD, github, lifetime)).toBe(NOTHING_BOUND);
    expect(names.bindings).toBe(0);
    expect(names.evicted).toBe(0);
  });

  test("each name of an address ends for itself", () => {
    const names = table();
    names.learn(POD, "a.example", [], [github], 0, 0);
    names.learn(POD, "b.example", [], [github], 0, HOUR / 2);
    expect(names.lookup(POD, github, HOUR).names).toEqual(["b.example"]);
  });

  test("a shorter answer never shortens a binding", () => {
    const names = table();
    names.learn(POD, "a.example", [], [github], 7200, 0);
    names.learn(POD, "a.example", [], [github], 1, 1);
    expect(names.lookup(POD, github, 2 * HOUR - 1).names).toEqual(["a.example"]);
  });

  test("a live flow keeps it; what has expired is not revived", () => {
    const names = table(100, { inUseMs: 600_000 });
    names.learn(POD, "a.example", [], [github], 0, 0);
    names.touch(POD, github, HOUR - 1);
    expect(names.lookup(POD, github, HOUR + 1).names).toEqual(["a.example"]);
    names.touch(POD, github, HOUR + 600_000);
    expect(names.lookup(POD, github, HOUR + 600_000)).toBe(NOTHING_BOUND);
  });

  test("forgetting a workload takes all of it and nothing else", () => {
    const names = table();
    names.learn(POD, "a.example", [], [github], 0, 0);
    names.learn(OTHER, "a.example", [], [github], 0, 0);
    names.forgetWorkload(POD);
    expect(names.lookup(POD, github, 1)).toBe(NOTHING_BOUND);
    expect(names.lookup(OTHER, github, 1).names).toEqual(["a.example"]);
    expect(names.bindings).toBe(1);
  });
});

describe("bounds", () => {
  test("a flood of one workload never touches another's, and is counted", () => {
    const names = table(10);
    names.learn(OTHER, "a.example", [], [github], 0, 0);
    for (let i = 0; i < 1000; i++) names.learn(POD, `n${i}.example`, [], [ipv4(i)], 0, i);
    expect(names.bindings).toBe(11);
    expect(names.evicted).toBe(990);
    expect(names.lookup(OTHER, github, 1001).names).toEqual(["a.example"]);
    expect(names.lookup(POD, ipv4(990), 1001).names).toEqual(["n990.example"]);
  });

  test("least recently useful goes first", () => {
    const names = table(2);
    names.learn(POD, "a.example", [], [ipv4(1)], 0, 0);
    names.learn(POD, "b.example", [], [ipv4(2)], 0, 1);
    names.lookup(POD, ipv4(1), 2);
    names.learn(POD, "c.example", [], [ipv4(3)], 0, 3);
    expect(names.lookup(POD, ipv4(1), 4).names).toEqual(["a.example"]);
    expect(names.lookup(POD, ipv4(2), 4)).toBe(NOTHING_BOUND);
  });

  test("the expired goes before the living is counted as lost", () => {
    const names = table(2);
    names.learn(POD, "a.example", [], [ipv4(1)], 0, 0);
    names.learn(POD, "b.example", [], [ipv4(2)], 0, HOUR);
    names.learn(POD, "c.example", [], [ipv4(3)], 0, HOUR);
    expect(names.evicted).toBe(0);
  });

  test("names of one address are bounded", () => {
    const names = table(1000, { namesPerAddress: 3 });
    for (let i = 0; i < 10; i++) names.learn(POD, `n${i}.example`, [], [github], 0, i);
    expect(names.lookup(POD, github, 11).names).toEqual(["n7.example", "n8.example", "n9.example"]);
    expect(names.evicted).toBe(7);
  });
});

test("the journal replays to the same table", () => {
  const names = table();
  names.learn(POD, "a.example", ["x.example"], [github, six], 7200, 0);
  names.learn(OTHER, "b.example", [], [six], 0, 0);
  const again = table();
  for (const binding of names.all(HOUR + 1)) again.restore(binding, HOUR + 1);
  expect([...again.all(HOUR + 1)]).toEqual([...names.all(HOUR + 1)]);
  expect(again.lookup(OTHER, six, HOUR + 1)).toBe(NOTHING_BOUND);
  expect(again.lookup(POD, six, HOUR + 1).names).toEqual(["a.example"]);
});

/** A plain list of pairs: what the table must agree with while nothing was evicted. */
test("property: agrees with a plain list, and never exceeds its bounds", () => {
  const step = fc.record({
    workload: fc.integer({ min: 1, max: 2 }),
    name: fc.constantFrom("a.example", "b.example", "c.example"),
    address: fc.constantFrom(ipv4(1), ipv4(2), six, { ...six, w3: 8 }),
    ttl: fc.constantFrom(0, 5000, 9000),
    wait: fc.integer({ min: 0, max: HOUR }),
    act: fc.constantFrom("learn", "learn", "lookup", "touch"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom(3, 100), (steps, limit) => {
      const names = table(limit);
      const model = new Map<string, number>();
      let now = 0;
      for (const { workload, name, address, ttl, wait, act } of steps) {
        now += wait;
        const key = (n: string) => `${workload} ${n} ${address.w0} ${address.w3}`;
        if (act === "learn") {
          names.learn(workload, name, [], [address], ttl, now);
          model.set(key(name), Math.max(model.get(key(name)) ?? 0, now + Math.max(ttl * 1000, HOUR)));
        } else if (act === "touch") {
          names.touch(workload, address, now);
          for (const n of ["a.example", "b.example", "c.example"]) {
            const until = model.get(key(n)) ?? 0;
            if (until > now) model.set(key(n), Math.max(until, now + 600_000));
          }
        }
        const found = names.lookup(workload, address, now).names;
        const expected = ["a.example", "b.example", "c.example"].filter((n) => (model.get(key(n)) ?? 0) > now);
        if (limit === 100) expect([...found].sort()).toEqual(expected);
        else expect(expected).toEqual(expect.arrayContaining([...found]));
        expect(names.bindings).toBeLessThanOrEqual(2 * limit);
      }
    }),
    { numRuns: runs(300) },
  );
});
