import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { asideUntil, type Bypass, bypassedIds, bypassedRanges, LONGEST_MS } from "../../../src/agent/bypass/bypass.ts";
import { bootID, readBypasses, writeBypasses } from "../../../src/agent/bypass/bypass-file.ts";
import { bypassClock } from "../../../src/kernel/ruleset-sets.ts";
import { parseAddress } from "../../../src/net/address.ts";
import { formatCidr, parseCidr } from "../../../src/net/cidr.ts";

const one = (more: Partial<Bypass> = {}): Bypass => ({
  ...{ id: "0000000a", scope: "Namespace", namespace: "shop", reason: "why", by: "root" },
  ...{ since: "2026-03-01T12:00:00.000Z", until: "2026-03-01T12:15:00.000Z" },
  ...{ bootID: bootID(), endsAt: bypassClock() + 60_000 },
  ...more,
});
const NODE = { scope: "Node", namespace: null } as const;
const pod = (id: number, namespace: string, ...addresses: string[]) => ({
  id,
  namespace,
  addresses: addresses.map((text) => parseAddress(text)!),
});
const PODS = [pod(1, "shop", "10.244.0.2", "fd00::2"), pod(2, "stock", "10.244.0.3"), pod(3, "shop", "10.244.9.9")];
const range = (text: string) => {
  const read = parseCidr(text);
  if (!read.ok) throw new Error(read.problem);
  return read.cidr;
};
const shown = (bypasses: readonly Bypass[], pods = PODS) =>
  bypassedRanges(bypasses, [range("10.244.0.0/24")], pods).map(({ cidr, until }) => `${formatCidr(cidr)} ${until}`);

describe("whom it covers", () => {
  test("a namespace, or everybody", () => {
    expect([...bypassedIds([one()], PODS)]).toEqual([1, 3]);
    expect([...bypassedIds([one(NODE)], PODS)]).toEqual([1, 2, 3]);
    expect([...bypassedIds([], PODS)]).toEqual([]);
  });

  test("the kernel is told of the pods of a namespace, each for as long as the longest lasts", () => {
    const two = [one({ endsAt: 100 }), one({ endsAt: 300 }), one({ namespace: "stock", endsAt: 200 })];
    expect(shown(two)).toEqual(["10.244.0.2/32 300", "fd00::2/128 300", "10.244.0.3/32 200", "10.244.9.9/32 300"]);
  });

  test("and of a whole node's ranges, with the pods outside of them, without overlaps", () => {
    expect(shown([one({ ...NODE, endsAt: 100 }), one({ endsAt: 900 })]).sort()).toEqual([
      "10.244.0.0/24 100",
      "10.244.9.9/32 100",
      "fd00::2/128 100",
    ]);
  });

  test("an address that two pods claim is nobody's", () => {
    expect(shown([one({ endsAt: 100 })], [pod(1, "shop", "10.244.0.2"), pod(2, "stock", "10.244.0.2")])).toEqual([]);
  });

  test("the hooks stand aside for one of everything only", () => {
    expect([asideUntil([one(), one(NODE)]), asideUntil([one({ scope: "All", namespace: null, endsAt: 7 })])]).toEqual([
      0, 7,
    ]);
  });
});

describe("the file", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bypass-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const ids = () => readBypasses(folder).map(({ id }) => id);
  const path = () => join(folder, "bypass.json");

  test("what is written is read, until it ends", () => {
    expect(ids()).toEqual([]);
    writeBypasses(folder, [one(), one({ id: "b", endsAt: bypassClock() - 1 })]);
    expect(ids()).toEqual(["0000000a"]);
    writeBypasses(folder, []);
    expect(ids()).toEqual([]);
  });

  test("of another boot, or longer than any may be: nothing", () => {
    writeBypasses(folder, [one({ bootID: "another" }), one({ endsAt: bypassClock() + LONGEST_MS + 60_000 })]);
    expect(ids()).toEqual([]);
  });

  const broken: readonly [what: string, text: string][] = [
    ["no JSON", "{"],
    ["no list", "{}"],
    ["no bypass", "[7]"],
    ["a namespace without a name", JSON.stringify([{ ...one(), namespace: null }])],
    ["an unknown scope", JSON.stringify([{ ...one(), scope: "Cluster" }])],
    ["too many", JSON.stringify(Array.from({ length: 65 }, () => one()))],
  ];
  test.each(broken)("%s sets nothing aside", (_, text) => {
    writeFileSync(path(), text, { mode: 0o600 });
    expect(ids).toThrow();
  });

  test("that others may write, or that lies elsewhere, is not believed", () => {
    writeBypasses(folder, [one()]);
    chmodSync(path(), 0o622);
    expect(ids).toThrow(/nobody else can write/);
    writeBypasses(folder, []);
    const other = join(folder, "other.json");
    writeFileSync(other, JSON.stringify([one()]), { mode: 0o600 });
    symlinkSync(other, path());
    expect(ids).toThrow();
  });
});
