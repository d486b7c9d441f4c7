import { execFileSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import koffi from "koffi";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openPacketLog, type PacketLog } from "../../src/kernel/packet-log.ts";
import { Poller } from "../../src/kernel/poller.ts";

const SPACE = `spl-${process.pid}`;
const GROUP = 71;
const CLONE_NEWNET = 0x40000000;
const setns = koffi.load(null).func("int setns(int fd, int kind)") as (fd: number, kind: number) => number;

const TABLE = `add table inet probe
delete table inet probe
table inet probe {
  counter logged { }
  chain out {
    type filter hook output priority 0; policy accept;
    udp dport 5353 counter name logged log group ${GROUP} snaplen 48 queue-threshold 4
  }
}
`;

let log: PacketLog | null = null;

/** Takes this thread to a namespace and closes its descriptor. */
function enter(namespace: number): void {
  if (setns(namespace, CLONE_NEWNET) !== 0) throw new Error("cannot change the network namespace");
  closeSync(namespace);
}

function inside(...command: string[]): string {
  return execFileSync("ip", ["netns", "exec", SPACE, ...command], { encoding: "utf8", timeout: 20_000 });
}

function open(threshold: number, timeoutMs: number): PacketLog {
  const home = openSync("/proc/thread-self/ns/net", "r");
  enter(openSync(`/run/netns/${SPACE}`, "r"));
  try {
    log = openPacketLog({ group: GROUP, copyRange: 128, threshold, timeoutMs });
    return log;
  } finally {
    enter(home);
  }
}

/** Sends numbered datagrams to a port of loopback that nobody listens on. */
function send(count: number, bytes = 100): void {
  const body = `my $p="x" x ${bytes}; use Socket; socket(S,PF_INET,SOCK_DGRAM,17); my $to=sockaddr_in(5353,inet_aton("127.0.0.1")); for(1..${count}){send(S,$p,0,$to)}`;
  inside("perl", "-e", body);
}

/** Reads until nothing more comes for a while; the length of each record. */
function records(of: PacketLog): number[] {
  const lengths: number[] = [];
  const poller = new Poller([of.fd]);
  while (poller.wait(400) !== 0) of.read((_bytes, start, end) => lengths.push(end - start));
  return lengths;
}

function counted(): number {
  return Number(/packets (\d+)/.exec(inside("nft", "list", "counter", "inet", "probe", "logged"))![1]);
}

beforeAll(() => {
  execFileSync("ip", ["netns", "add", SPACE]);
  inside("ip", "link", "set", "lo", "up");
  execFileSync("ip", ["netns", "exec", SPACE, "nft", "-f", "-"], { input: TABLE, timeout: 20_000 });
});

afterEach(() => {
  log?.close();
  log = null;
});

afterAll(() => {
  execFileSync("ip", ["netns", "del", SPACE]);
});

test("every packet that the rule logs is read, cut to the shorter of the two lengths", () => {
  const reader = open(32, 50);
  send(10);
  expect(records(reader)).toEqual(Array.from({ length: 10 }, () => 48));
  expect(reader.counters).toEqual({ received: 10, lost: 0, malformed: 0 });
});

test("a copy begins with the IP header", () => {
  const reader = open(1, 50);
  send(1);
  const heads: string[] = [];
  new Poller([reader.fd]).wait(5_000);
  reader.read((bytes, start) => heads.push(Buffer.from(bytes.subarray(start, start + 1)).toString("hex")));
  expect(heads).toEqual(["45"]);
});

test("what is fewer than the threshold comes when its time is over", () => {
  const reader = open(32, 20);
  send(3);
  expect(records(reader)).toHaveLength(3);
});

test("what did not fit is counted: read and lost are all that the kernel logged", () => {
  const reader = open(32, 50);
  const before = counted();
  send(400_000, 1);
  const first = records(reader).length;
  // The gap shows with the next record that comes through.
  send(1);
  const read = first + records(reader).length;
  expect(reader.counters.lost).toBeGreaterThan(0);
  expect(reader.overruns).toBeGreaterThan(0);
  expect(read + reader.counters.lost).toBe(counted() - before);
});

test("a reader that begins late begins with no loss", () => {
  send(5);
  const reader = open(32, 50);
  send(2);
  expect(records(reader)).toHaveLength(2);
  expect(reader.counters.lost).toBe(0);
});

test("a group has one reader; the next one says who is missing what", () => {
  open(32, 50);
  const first = log!;
  expect(() => open(32, 50)).toThrow(/cannot bind NFLOG group `71`/);
  first.close();
  log = null;
  send(1);
  expect(records(open(32, 50))).toHaveLength(0);
});
