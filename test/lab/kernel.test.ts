import { createSocket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ConntrackEndings } from "../../src/kernel/conntrack.ts";
import type { ConntrackEntry } from "../../src/kernel/conntrack-entry.ts";
import { inPlace, stateOf } from "../../src/kernel/marks.ts";
import { openPacketLog } from "../../src/kernel/packet-log.ts";
import { openQueue } from "../../src/kernel/queue.ts";
import { RawSender } from "../../src/kernel/raw-socket.ts";
import { TOLD_BYTES, toldGroupOf } from "../../src/kernel/ruleset-told.ts";
import { ANSWER, FROM_SERVER, REMEMBERED_SHIFT, STATE, TO_RESOLVER, TRANSLATED } from "../../src/model/verdict.ts";
import { parseAddress } from "../../src/net/address.ts";
import { buildTcp } from "../../src/packet/build.ts";
import {
  address,
  carriedCount,
  cleanUp,
  cleanups,
  conntrack,
  datagrams,
  dial,
  echoServer,
  ended,
  FAMILIES,
  FREE,
  flows,
  flowsInPieces,
  freshPort,
  heard,
  LAYOUT,
  listen,
  lowerStage,
  NODE,
  OUTSIDE,
  QUEUE,
  RETRY,
  raiseStage,
  ruleset,
  STRICT,
  SYN_FLAG,
  say,
  serverHello,
  sets,
  sh,
  spec,
  URG_FLAG,
  udpPacket,
  within,
} from "../support/kernel-stage.ts";

beforeAll(raiseStage);

afterEach(cleanUp);

afterAll(lowerStage);

describe.each(FAMILIES)("$name", (family) => {
  test("without a listener an isolated workload waits, an observed one passes", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    const strict = dial(STRICT, family.server, port, 700);
    const free = dial(FREE, family.server, port);
    expect((await strict).outcome).toBe("silence");
    expect((await free).outcome).toBe("connected");
  });

  test("allow: one question, then the kernel carries", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.allow);
    const { outcome, socket } = await dial(STRICT, family.server, port);
    expect(outcome).toBe("connected");
    for (const text of ["one", "two", "three"]) expect(await say(socket, text)).toBe(text);
    expect(listener.questions).toEqual([{ flags: 0, observed: false, size: expect.any(Number) }]);
  });

  test("an observed workload asks on its own queue", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.allow);
    expect((await dial(FREE, family.server, port)).outcome).toBe("connected");
    expect(listener.questions.map((question) => question.observed)).toEqual([true]);
  });

  test("reject: the client is told at once", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    await listen(() => ANSWER.reject);
    const started = performance.now();
    expect((await dial(STRICT, family.server, port)).outcome).toBe("ECONNREFUSED");
    expect(performance.now() - started).toBeLessThan(500);
  });

  test("looking: both directions ask until it is decided", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    let decided = false;
    const listener = await listen(() => (decided ? ANSWER.allow : ANSWER.look));
    const { outcome, socket } = await dial(STRICT, family.server, port);
    expect(outcome).toBe("connected");
    expect(await say(socket, "hello")).toBe("hello");
    const looking = STATE.looking << REMEMBERED_SHIFT;
    const flags = listener.questions.map((question) => question.flags);
    expect(flags[0]).toBe(0);
    expect(flags).toContain(looking | FROM_SERVER);
    expect(flags).toContain(looking);
    decided = true;
    expect(await say(socket, "more")).toBe("more");
    await sleep(50);
    const before = listener.questions.length;
    expect(await say(socket, "again")).toBe("again");
    expect(listener.questions.length).toBe(before);
  });

  test("http: only the client's direction asks", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.http);
    const { socket } = await dial(STRICT, family.server, port);
    expect(await say(socket, "GET")).toBe("GET");
    expect(listener.questions.every((question) => (question.flags & FROM_SERVER) === 0)).toBe(true);
    // The SYN and the request: bare acknowledgements go unasked.
    expect(listener.questions.length).toBe(2);
  });

  test("looking: the SYN-ACK goes unasked", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.look);
    const { socket } = await dial(STRICT, family.server, port);
    await sleep(50);
    expect(listener.questions.length).toBe(1);
    expect(await say(socket, "GET")).toBe("GET");
    // The request, and the answer.
    expect(listener.questions.length).toBe(3);
  });

  test("confirming: both directions ask, bare acknowledgements too", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.confirm);
    const { socket } = await dial(STRICT, family.server, port);
    expect(await say(socket, "GET")).toBe("GET");
    // SYN, SYN-ACK, ACK; request, its acknowledgement or the answer that carries it.
    expect(listener.questions.length).toBeGreaterThanOrEqual(5);
    expect(listener.questions.some((question) => (question.flags & FROM_SERVER) !== 0)).toBe(true);
  });

  /** A flow in state `proving` to a server that echoes: what it says is what the client told it to. */
  async function proved(answer: number) {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => [ANSWER.look, ANSWER.prove][listener.questions.length - 1] ?? answer);
    const { socket } = await dial(STRICT, family.server, port);
    expect(await say(socket, "hello")).toBe("hello");
    // The SYN, the hello, and what the server says, which is no record.
    expect(listener.questions.map(({ flags }) => flags & FROM_SERVER)).toEqual([0, 0, FROM_SERVER]);
    /** How many questions come of this, on its way there and back; and what is remembered then. */
    const asked = async (words: Buffer): Promise<[number, number]> => {
      const before = listener.questions.length;
      expect(await say(socket, words as never)).toBe(String(words));
      const [entry] = await flows(family, port);
      return [listener.questions.length - before, stateOf(LAYOUT, entry!.mark)];
    };
    return asked;
  }

  test("proving: a ServerHello hands the flow over unasked", async () => {
    const asked = await proved(ANSWER.pass);
    expect(await asked(Buffer.from("still the same"))).toEqual([2, STATE.proving]);
    expect(await asked(serverHello())).toEqual([1, STATE.allowed]);
    expect(await asked(Buffer.from("more"))).toEqual([0, STATE.allowed]);
  });

  test.each([
    ["a HelloRetryRequest", serverHello({ random: RETRY })],
    ["one whose record ends within its first bytes", serverHello({ record: 41 })],
    ["one of which half the random has not come", serverHello().subarray(0, 26)],
    ["another message", serverHello({ message: 1 })],
    ["a message of impossible length", serverHello({ high: 1 })],
    ["TLS 1.1", serverHello({ version: 0x0302 })],
    ["another record", serverHello({ type: 23 })],
    ["another protocol", serverHello({ major: 2 })],
    ["one behind other bytes", Buffer.concat([Buffer.of(22), serverHello()])],
  ])("proving: the agent is asked about %s", async (_, words) => {
    const asked = await proved(ANSWER.pass);
    expect(await asked(words)).toEqual([2, STATE.proving]);
  });

  test("proving ends when the agent wants to follow again, but not once the flow is handed over", async () => {
    const asked = await proved(ANSWER.unprove);
    expect(await asked(serverHello())).toEqual([2, STATE.looking]);
  });

  test("a flow marked rejected is reset at both ends", async () => {
    const port = freshPort();
    const { accepted } = await echoServer(OUTSIDE, family.server, port);
    await listen(() => ANSWER.allow);
    const { socket } = await dial(STRICT, family.server, port);
    expect(await say(socket, "one")).toBe("one");
    const entries = await flows(family, port);
    expect((await flowsInPieces(family, port)).map(({ id }) => id)).toEqual(entries.map(({ id }) => id));
    expect(entries.map((entry) => stateOf(LAYOUT, entry.mark))).toEqual([STATE.allowed]);
    expect(conntrack.setMark(entries[0]!.original, inPlace(LAYOUT, STATE.rejected), LAYOUT.mask)).toBe(true);
    const serverEnd = ended(accepted[0]!);
    accepted[0]!.write("are you there?");
    await serverEnd;
    expect(await say(socket, "two")).toBe("ECONNRESET");
  });

  test("a server that speaks into a lost entry is reset, and the pod does not pass as a reply", async () => {
    const port = freshPort();
    const { accepted } = await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.allow);
    const { socket } = await dial(STRICT, family.server, port);
    expect(await say(socket, "one")).toBe("one");
    sh(NODE, `conntrack -D -f ${family.name.toLowerCase()} -p tcp --dport ${port} 2>/dev/null`);
    const closed = ended(accepted[0]!);
    accepted[0]!.write("hole?");
    await closed;
    listener.policy = () => ANSWER.reject;
    expect(await say(socket, "two")).toBe("ECONNRESET");
  });

  test("a SYN is asked whatever is remembered", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.allow);
    const first = await dial(STRICT, family.server, port, 1500, 40_000 + (port % 1000));
    expect(first.outcome).toBe("connected");
    first.socket.resetAndDestroy();
    await sleep(50);
    listener.policy = () => ANSWER.reject;
    const again = await dial(STRICT, family.server, port, 1500, 40_000 + (port % 1000));
    expect(again.outcome).toBe("ECONNREFUSED");
  });

  test("inbound flows and the node's own need no listener", async () => {
    const port = freshPort();
    await echoServer(STRICT, family.strict, port);
    for (const from of [OUTSIDE, NODE]) {
      const { outcome, socket } = await dial(from, family.strict, port);
      expect(outcome).toBe("connected");
      expect(await say(socket, "called")).toBe("called");
    }
  });

  test("UDP: reject says so by ICMP, allow carries, a QUIC opening is asked again", async () => {
    const port = freshPort();
    const server = await datagrams(OUTSIDE, family.udp, family.server, port);
    server.on("message", (data, peer) => server.send(data, peer.port, peer.address));
    const listener = await listen(() => ANSWER.reject);
    const client = createSocket(family.udp);
    cleanups.push(() => client.close());
    await within(STRICT, async () => {
      client.connect(port, family.server);
      await once(client, "connect");
    });
    const refused = once(client, "error");
    client.send("x");
    expect(["EHOSTUNREACH", "EACCES", "ECONNREFUSED"]).toContain(((await refused)[0] as NodeJS.ErrnoException).code);
    listener.policy = () => ANSWER.allow;
    client.send("one");
    expect(await heard(client)).toBe("one");
    const count = listener.questions.length;
    client.send("two");
    expect(await heard(client)).toBe("two");
    expect(listener.questions.length).toBe(count);
    client.send(Buffer.from("c300000001086162", "hex"));
    await heard(client);
    expect(listener.questions.at(-1)!.flags).toBe(STATE.allowed << REMEMBERED_SHIFT);
    expect(listener.questions.length).toBe(count + 1);
  });

  test("carry: the next connection of the pair goes unasked and is logged; no other does", async () => {
    const port = freshPort();
    // Not among those that the listener takes for stragglers of other tests.
    const other = port + 7_000;
    for (const one of [port, other]) await echoServer(OUTSIDE, family.server, one);
    const listener = await listen(() => ANSWER.carry);
    const carried = await carriedCount();
    for (let n = 0; n < 3; n++) {
      const { outcome, socket } = await dial(STRICT, family.server, port);
      expect(outcome).toBe("connected");
      expect(await say(socket, "one")).toBe("one");
    }
    expect(listener.questions).toHaveLength(1);
    expect((await carriedCount()) - carried).toBe(2);
    expect((await flows(family, port)).map(({ mark }) => stateOf(LAYOUT, mark))).toEqual(Array(3).fill(STATE.allowed));
    await dial(STRICT, family.server, other);
    expect((await dial(FREE, family.server, port)).outcome).toBe("connected");
    expect(listener.questions.map(({ observed }) => observed)).toEqual([false, false, true]);
    listener.policy = () => ANSWER.reject;
    // Its element is five seconds old, and nothing made it younger.
    await sleep(5_500);
    expect((await dial(STRICT, family.server, port)).outcome).toBe("ECONNREFUSED");
  });

  test("carry: a SYN into an entry in which something is remembered is asked about, and so is an odd one", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.carry);
    const local = 41_000 + (port % 1000);
    await dial(STRICT, family.server, port);
    expect((await dial(STRICT, family.server, port, 1500, local)).outcome).toBe("connected");
    expect(listener.questions).toHaveLength(1);
    listener.policy = () => ANSWER.reject;
    const syn = (sourcePort: number, flags: number) =>
      within(STRICT, async () => {
        const sender = new RawSender(0);
        const ends = { source: parseAddress(family.strict)!, destination: parseAddress(family.server)! };
        sender.send(buildTcp({ ...ends, sourcePort, destinationPort: port, seq: 7, ack: 0, window: 1024, flags }));
        sender.close();
      });
    const asked = async (sourcePort: number, flags: number) => {
      const before = listener.questions.length;
      await syn(sourcePort, flags);
      await sleep(100);
      return listener.questions.length > before;
    };
    expect(await asked(local, SYN_FLAG)).toBe(true);
    expect(await asked(local + 500, SYN_FLAG | URG_FLAG)).toBe(true);
    expect(await asked(local + 501, SYN_FLAG)).toBe(false);
  });

  test("tell: the next SYN of the pair goes unasked and is told of before what follows it is asked", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    const log = await within(NODE, () =>
      openPacketLog({ group: toldGroupOf(QUEUE, 0), copyRange: TOLD_BYTES, threshold: 16, timeoutMs: 50 }),
    );
    cleanups.push(() => log.close());
    const told: number[] = [];
    const whenAsked: number[] = [];
    let opening = true;
    const listener = await listen(() => {
      log.read((_bytes, start, end) => told.push(end - start));
      whenAsked.push(told.filter((size) => size > 1).length);
      return opening ? ANSWER.tell : ANSWER.allow;
    });
    // Two SYNs that follow each other fast enough.
    let dialled = await dial(STRICT, family.server, port);
    for (let count = 0; listener.questions.length !== count; ) {
      count = listener.questions.length;
      dialled = await dial(STRICT, family.server, port);
      expect(dialled.outcome).toBe("connected");
    }
    const states = (await flows(family, port)).map(({ mark }) => stateOf(LAYOUT, mark));
    expect(new Set(states)).toEqual(new Set([STATE.looking]));
    opening = false;
    expect(await say(dialled.socket, "one")).toBe("one");
    expect(listener.questions.at(-1)!.flags).toBe(STATE.looking << REMEMBERED_SHIFT);
    expect(whenAsked.at(-1)).toBe(1);
    expect(told.filter((size) => size > 1)).toEqual([family.name === "IPv4" ? 60 : 80]);
    // Its element is older than it may become.
    await sleep(200);
    listener.policy = () => ANSWER.reject;
    expect((await dial(STRICT, family.server, port)).outcome).toBe("ECONNREFUSED");
  });

  test("tell: another pod, a SYN of another layout, and one into an entry that is there, are asked about", async () => {
    const port = freshPort();
    await echoServer(OUTSIDE, family.server, port);
    const listener = await listen(() => ANSWER.tell);
    const bareHeaders = family.name === "IPv4" ? 40 : 60;
    const LINUX = [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
    const asked = async (sourcePort: number, options: readonly number[], more: object = {}) => {
      // One that is asked about, so that the element is young.
      await sleep(120);
      await dial(STRICT, family.server, port);
      const before = listener.questions.length;
      await within(STRICT, async () => {
        const sender = new RawSender(0);
        const ends = { source: parseAddress(family.strict)!, destination: parseAddress(family.server)! };
        const syn = { sourcePort, destinationPort: port, seq: 7, ack: 0, window: 1024, flags: SYN_FLAG };
        sender.send(buildTcp({ ...ends, ...syn, options: Uint8Array.from(options), ...more }));
        sender.close();
      });
      await sleep(30);
      // The pod's kernel knows nothing of the connection and resets it: no question of this test.
      return listener.questions.slice(before).some(({ size }) => size > bareHeaders);
    };
    // On a busy machine 100 ms are over at times before the second SYN is sent.
    const unasked = async (sourcePort: number) => {
      for (let turn = 0; turn < 8; turn++) if (!(await asked(sourcePort + turn, LINUX))) return true;
      return false;
    };
    const at = 43_000 + (port % 500) * 40;
    expect(await unasked(at + 10)).toBe(true);
    expect((await dial(STRICT, family.server, port, 1500, at + 7)).outcome).toBe("connected");
    expect(await asked(at + 7, LINUX)).toBe(true);
    expect(await asked(at + 1, LINUX.slice(0, 4))).toBe(true);
    expect(await asked(at + 2, LINUX.with(12, 1))).toBe(true);
    expect(await asked(at + 3, LINUX.with(0, 254))).toBe(true);
    expect(await asked(at + 4, LINUX, { payload: Uint8Array.of(1) })).toBe(true);
    expect(await asked(at + 5, LINUX, { flags: SYN_FLAG | URG_FLAG })).toBe(true);
    expect(await unasked(at + 20)).toBe(true);
    const before = listener.questions.length;
    expect((await dial(FREE, family.server, port)).outcome).toBe("connected");
    expect(listener.questions.slice(before).map(({ observed }) => observed)).toEqual([true]);
  });

  test("carry: the next datagram flow goes unasked; what could be QUIC does not", async () => {
    const port = freshPort();
    const server = await datagrams(OUTSIDE, family.udp, family.server, port);
    server.on("message", (data, peer) => server.send(data, peer.port, peer.address));
    const listener = await listen(() => ANSWER.carry);
    const send = async (data: string | Buffer) => {
      const client = await datagrams(STRICT, family.udp, family.strict, 0);
      client.send(data, port, family.server);
      return heard(client);
    };
    expect([await send("one"), await send("two"), await send("")]).toEqual(["one", "two", ""]);
    expect(listener.questions).toHaveLength(1);
    for (const long of ["c300000001086162", "80ff00001d086162", "9a0a0a0a0a086162"])
      await send(Buffer.from(long, "hex"));
    expect(listener.questions).toHaveLength(4);
  });

  test("a query bears the address that was asked; its answer is known to come from there", async () => {
    const table = `${family.name.toLowerCase()}_service`;
    const kind = family.name === "IPv4" ? "ip" : "ip6";
    const target = family.name === "IPv4" ? `${family.server}:5353` : `[${family.server}]:5353`;
    sh(
      NODE,
      `nft 'table ${kind} ${table} { chain pre { type nat hook prerouting priority dstnat; ${kind} daddr ${family.service} udp dport 53 dnat to ${target}; }
    }'`,
    );
    cleanups.push(() => sh(NODE, `nft delete table ${kind} ${table}`));
    const server = await datagrams(OUTSIDE, family.udp, family.server, 5353);
    server.on("message", (_data, peer) => server.send("answer", peer.port, peer.address));
    const listener = await listen(() => ANSWER.look);
    const client = await datagrams(STRICT, family.udp, family.strict, 0);
    client.send("query", 53, family.service);
    expect(await heard(client)).toBe("answer");
    expect(listener.questions.map((question) => question.flags)).toEqual([
      TO_RESOLVER,
      TO_RESOLVER | TRANSLATED | FROM_SERVER | (STATE.looking << REMEMBERED_SHIFT),
    ]);
  });

  test("a late answer does not turn the flow around: the next query is asked as a query", async () => {
    const listener = await listen((question) => ((question.flags & FROM_SERVER) === 0 ? ANSWER.look : ANSWER.allow));
    const resolver = await datagrams(FREE, family.udp, family.free, 53);
    const client = await datagrams(STRICT, family.udp, family.strict, 0);
    const late = heard(client);
    resolver.send("late", client.address().port, family.strict);
    expect(await late).toBe("late");
    const query = heard(resolver);
    client.send("query", 53, family.free);
    expect(await query).toBe("query");
    expect(listener.questions).toEqual([
      { flags: FROM_SERVER, observed: false, size: expect.any(Number) },
      { flags: STATE.allowed << REMEMBERED_SHIFT, observed: false, size: expect.any(Number) },
    ]);
  });

  test("injected: a datagram from a foreign address reaches the pod and leaves no entry", async () => {
    const client = await datagrams(STRICT, family.udp, family.strict, 0);
    const sender = await within(NODE, () => new RawSender(inPlace(LAYOUT, ANSWER.injectedUntracked)));
    cleanups.push(() => sender.close());
    const packet = udpPacket(family.service, family.strict, 53, client.address().port, Buffer.from("NXDOMAIN"));
    const message = heard(client);
    expect(sender.send(packet)).toBe(true);
    expect(await message).toBe("NXDOMAIN");
    const entries: ConntrackEntry[] = [];
    conntrack.dump(family.name === "IPv4" ? "ipv4" : "ipv6", (entry) => entries.push(entry));
    expect(entries.filter((entry) => entry.original.destinationPort === client.address().port)).toEqual([]);
    expect(sender.send(new Uint8Array([0x60]))).toBe(false);
  });

  test("a borrowed address is dropped and counted", async () => {
    const before = await ruleset.counters();
    const sender = await within(STRICT, () => new RawSender(0));
    cleanups.push(() => sender.close());
    sender.send(udpPacket(family.free, family.server, 1234, 9999, Buffer.from("not me")));
    sender.send(
      udpPacket(
        family.name === "IPv4" ? "203.0.113.7" : "2001:db8:7::7",
        family.server,
        1234,
        9999,
        Buffer.from("nobody"),
      ),
    );
    await sleep(100);
    const after = await ruleset.counters();
    expect(after.get("spoofed")! - before.get("spoofed")!).toBe(1);
    expect(after.get("foreign")! - before.get("foreign")!).toBe(1);
  });
});

test("mark bits of others survive question and answer", async () => {
  sh(
    NODE,
    `nft 'table inet others { counter kept { }
    chain before { type filter hook forward priority -170; meta mark set 0x4002; }
    chain after { type filter hook forward priority -130; meta mark 0x4000 counter name kept; }
    }'`,
  );
  cleanups.push(() => sh(NODE, "nft delete table inet others"));
  const port = freshPort();
  await echoServer(OUTSIDE, "192.0.2.10", port);
  await listen(() => ANSWER.look);
  const { socket } = await dial(STRICT, "192.0.2.10", port);
  expect(await say(socket, "marked")).toBe("marked");
  expect(Number(/packets (\d+)/.exec(sh(NODE, "nft list counter inet others kept"))?.[1])).toBeGreaterThan(4);
});

test("endings carry counters and times", async () => {
  const endings = await within(NODE, () => new ConntrackEndings());
  cleanups.push(() => endings.close());
  const port = freshPort();
  await echoServer(OUTSIDE, "192.0.2.10", port);
  await listen(() => ANSWER.allow);
  const { socket } = await dial(STRICT, "192.0.2.10", port);
  await say(socket, "x".repeat(1000));
  sh(NODE, `conntrack -D -p tcp --dport ${port} 2>/dev/null`);
  await sleep(50);
  const seen: ConntrackEntry[] = [];
  expect(endings.drain((entry) => seen.push(entry))).toBeGreaterThan(0);
  const ours = seen.find((entry) => entry.original.destinationPort === port)!;
  expect(ours.original.source).toEqual(address("10.244.0.2"));
  expect(ours.originalCounters.bytes).toBeGreaterThan(1000);
  expect(ours.replyCounters.packets).toBeGreaterThan(1);
  expect(Math.abs(ours.start - Date.now())).toBeLessThan(60_000);
  expect(ours.stop).toBeGreaterThanOrEqual(ours.start);
});

test("a removed table, a flushed chain, emptied sets and flushed queue rules are noticed and put back", async () => {
  const damages = [
    "nft delete table inet sallyport",
    "nft flush chain inet sallyport from_pod",
    "nft flush set inet sallyport workloads4",
    "nft add element inet sallyport observed4 { 10.244.0.99 }",
    "nft delete element inet sallyport workloads6 { fd00:244::2 }",
    "nft add element inet sallyport pod_interfaces { somebody }",
    "nft add element inet sallyport inside4 { 198.51.100.0/24 }",
    ...(spec.method === "xtables" ? ["iptables-nft -t mangle -F FORWARD", "ip6tables-nft -t mangle -F"] : []),
  ];
  for (const damage of damages) {
    expect(await ruleset.verify(), `before ${damage}`).toBe(true);
    sh(NODE, damage);
    expect(await ruleset.restore(), damage).toBe(true);
  }
  sh(NODE, "nft add table inet somebody_else; nft delete table inet somebody_else");
  expect(await ruleset.restore()).toBe(false);
});

test("set updates isolate and release", async () => {
  const port = freshPort();
  await echoServer(OUTSIDE, "192.0.2.10", port);
  await ruleset.updateSets({ ...sets, observed: [] });
  expect((await dial(FREE, "192.0.2.10", port, 500)).outcome).toBe("silence");
  await ruleset.updateSets(sets);
  expect((await dial(FREE, "192.0.2.10", port)).outcome).toBe("connected");
});

test("statistics and refused verdicts are counted", async () => {
  const queue = await within(NODE, () => openQueue({ number: 77, maxLength: 10, failOpen: false }));
  cleanups.push(() => queue.close());
  expect(await within(NODE, () => queue.statistics())).toEqual({ waiting: 0, queueDropped: 0, userDropped: 0 });
  queue.verdict(12345, true, null);
  queue.verdict(12346, false, 1, new Uint8Array(40));
  queue.flush();
  expect(queue.receive()).toBe(0);
  expect(queue.counters.refusedVerdicts).toBe(2);
  await within(NODE, () => expect(() => openQueue({ number: 77, maxLength: 10, failOpen: false })).toThrow("`77`"));
});

test("remove leaves nothing behind", async () => {
  await ruleset.remove();
  expect(sh(NODE, "nft list tables | grep -c sallyport || true").trim()).toBe("0");
  expect(sh(NODE, "iptables-nft -t mangle -S; ip6tables-nft -t mangle -S")).not.toContain("SALLYPORT");
  await ruleset.install(spec);
});
