import { execFileSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import koffi from "koffi";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { concatenatedKey, MOST_ELEMENTS, SetElements } from "../../src/kernel/set-elements.ts";
import { parseAddress } from "../../src/net/address.ts";

const SPACE = `spe-${process.pid}`;
const ENOENT = 2;
const ENFILE = 23;
const CLONE_NEWNET = 0x40000000;
const setns = koffi.load(null).func("int setns(int fd, int kind)") as (fd: number, kind: number) => number;

const TABLE = `table inet probe {
  set pairs4 {
    type ipv4_addr . inet_proto . inet_service
    size 300
    flags timeout
  }
  set pairs6 {
    type ipv6_addr . inet_proto . inet_service
    flags timeout
  }
}
`;

let elements: SetElements;

/** Takes this thread to a namespace and closes its descriptor. */
function enter(namespace: number): void {
  if (setns(namespace, CLONE_NEWNET) !== 0) throw new Error("cannot change the network namespace");
  closeSync(namespace);
}

function nft(command: string, input?: string): string {
  return execFileSync("ip", ["netns", "exec", SPACE, "nft", ...command.split(" ")], {
    encoding: "utf8",
    input,
    timeout: 20_000,
  });
}

/** The elements of a set as nft lists them, with the seconds of their timeout. */
function listed(set: string): string[] {
  const { nftables } = JSON.parse(nft(`-j list set inet probe ${set}`)) as {
    nftables: { set?: { elem?: { elem: { val: { concat: unknown[] }; timeout: number } }[] } }[];
  };
  const found = nftables.flatMap((item) => item.set?.elem ?? []);
  return found.map(({ elem }) => `${elem.val.concat.join(" ")} ${elem.timeout}s`).sort();
}

function pair(address: string, protocol: number, port: number): Uint8Array {
  return concatenatedKey([parseAddress(address)!, { value: protocol, bytes: 1 }, { value: port, bytes: 2 }]);
}

const DNS4 = pair("192.0.2.7", 17, 5353);
const WEB4 = pair("192.0.2.8", 6, 443);
const WEB6 = pair("2001:db8::8", 6, 443);

beforeAll(() => {
  execFileSync("ip", ["netns", "add", SPACE]);
  const home = openSync("/proc/thread-self/ns/net", "r");
  enter(openSync(`/run/netns/${SPACE}`, "r"));
  try {
    elements = new SetElements("probe");
  } finally {
    enter(home);
  }
});

afterAll(() => {
  elements?.close();
  execFileSync("ip", ["netns", "del", SPACE]);
});

beforeEach(() => {
  nft("-f -", `add table inet probe\ndelete table inet probe\n${TABLE}`);
});

test("elements of both families are there at once, each with its timeout", () => {
  expect(elements.change({ kind: "add", set: "pairs4", keys: [DNS4, WEB4], timeoutMs: 30_000 })).toBe(0);
  expect(elements.change({ kind: "add", set: "pairs6", keys: [WEB6], timeoutMs: 5_000 })).toBe(0);
  expect(listed("pairs4")).toEqual(["192.0.2.7 udp 5353 30s", "192.0.2.8 tcp 443 30s"]);
  expect(listed("pairs6")).toEqual(["2001:db8::8 tcp 443 5s"]);
});

test("adding what is there is no error", () => {
  expect(elements.change({ kind: "add", set: "pairs4", keys: [DNS4], timeoutMs: 30_000 })).toBe(0);
  expect(elements.change({ kind: "add", set: "pairs4", keys: [DNS4, WEB4], timeoutMs: 30_000 })).toBe(0);
  expect(listed("pairs4")).toHaveLength(2);
});

test("a deletion takes what it names; of one that is gone it says so and takes nothing", () => {
  elements.change({ kind: "add", set: "pairs4", keys: [DNS4, WEB4], timeoutMs: 30_000 });
  expect(elements.change({ kind: "delete", set: "pairs4", keys: [DNS4] })).toBe(0);
  expect(listed("pairs4")).toEqual(["192.0.2.8 tcp 443 30s"]);
  expect(elements.change({ kind: "delete", set: "pairs4", keys: [WEB4, DNS4] })).toBe(ENOENT);
  expect(listed("pairs4")).toEqual(["192.0.2.8 tcp 443 30s"]);
});

test("a flush empties every set that it names; where one is missing, none", () => {
  elements.change({ kind: "add", set: "pairs4", keys: [DNS4], timeoutMs: 30_000 });
  elements.change({ kind: "add", set: "pairs6", keys: [WEB6], timeoutMs: 30_000 });
  expect(elements.change({ kind: "flush", sets: ["pairs4", "absent", "pairs6"] })).toBe(ENOENT);
  expect([...listed("pairs4"), ...listed("pairs6")]).toHaveLength(2);
  expect(elements.change({ kind: "flush", sets: ["pairs4", "pairs6"] })).toBe(0);
  expect([...listed("pairs4"), ...listed("pairs6")]).toEqual([]);
});

test("flushing what is empty is no error", () => {
  expect(elements.change({ kind: "flush", sets: ["pairs4", "pairs6"] })).toBe(0);
});

test("a set that is full takes nothing of what would be too much", () => {
  const keys = (first: number) => Array.from({ length: MOST_ELEMENTS }, (_, i) => pair("192.0.2.9", 17, first + i));
  expect(elements.change({ kind: "add", set: "pairs4", keys: keys(1000), timeoutMs: 30_000 })).toBe(0);
  expect(elements.change({ kind: "add", set: "pairs4", keys: keys(2000), timeoutMs: 30_000 })).toBe(ENFILE);
  expect(listed("pairs4")).toHaveLength(MOST_ELEMENTS);
});

test("without its table every change is an error and the next one works", () => {
  nft("delete table inet probe");
  expect(elements.change({ kind: "add", set: "pairs4", keys: [DNS4], timeoutMs: 30_000 })).toBe(ENOENT);
  expect(elements.change({ kind: "flush", sets: ["pairs4"] })).toBe(ENOENT);
  nft("-f -", TABLE);
  expect(elements.change({ kind: "add", set: "pairs4", keys: [DNS4], timeoutMs: 30_000 })).toBe(0);
});
