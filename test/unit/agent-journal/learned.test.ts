import { beforeEach, describe, expect, test } from "vitest";
import { type Binding, NameTable } from "../../../src/names/table.ts";
import { ipv4 } from "../../../src/net/address.ts";

const ADDRESS = ipv4(0xc0000201);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let told: Binding[];
let names: NameTable;

beforeEach(() => {
  told = [];
  names = new NameTable({ bindingsPerWorkload: 10, onLearned: (binding) => told.push(binding) });
});

const learn = (now: number, aliases: readonly string[] = []) =>
  names.learn(1, "a.example", aliases, [ADDRESS], 60, now);

describe("what a journal is told of bindings", () => {
  test("a new pair, and not what is asked again soon after", () => {
    learn(0);
    learn(1000);
    learn(MINUTE);
    expect(told).toEqual([{ workloadId: 1, address: ADDRESS, name: "a.example", aliases: [], expires: HOUR }]);
  });

  test("small extensions add up until they matter", () => {
    for (let minute = 0; minute <= 30; minute++) learn(minute * MINUTE);
    expect(told.length).toBeGreaterThan(3);
    expect(told.length).toBeLessThan(9);
    expect(HOUR + 30 * MINUTE - told.at(-1)!.expires).toBeLessThan(5 * MINUTE);
  });

  test("an alias more, at once: it may be what a Deny names", () => {
    learn(0);
    learn(1, ["b.example"]);
    learn(2, ["b.example"]);
    expect(told.map(({ aliases }) => aliases)).toEqual([[], ["b.example"]]);
  });

  test("a flow that uses the address keeps it, in the journal too", () => {
    learn(0);
    for (let minute = 55; minute < 120; minute += 5) {
      names.touch(1, ADDRESS, minute * MINUTE);
      expect(told.at(-1)!.expires).toBeGreaterThan((minute + 5) * MINUTE);
    }
  });
});
