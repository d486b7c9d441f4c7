import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readTcpOptions, TCP_FLAG } from "../../../src/packet/tcp.ts";
import { TLS_ALERT_ACCESS_DENIED } from "../../../src/packet/tls.ts";
import { clientHello, concat, record } from "../../support/hello.ts";
import { runs } from "../../support/runs.ts";
import { OTHER, type Talk, Transcript, WEB } from "./transcript.ts";

const hello = clientHello({ names: ["api.github.com"] });
const evil = clientHello({ names: ["evil.example.com"] });
const alert = String.fromCharCode(...TLS_ALERT_ACCESS_DENIED);

/** A ServerHello, and the one that is a HelloRetryRequest (RFC 8446 §4.1.3). */
const retryRandom = [
  0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
  0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
const answer = (random: readonly number[]) => record(22, concat([2, 0, 0, 38, 3, 3], random, [0, 0x13, 1, 0]), 0x0303);
const serverHello = answer(new Array<number>(32).fill(9));
const retry = answer(retryRandom);

function opened(options: Parameters<Transcript["talk"]>[0] = {}, bound = true): { t: Transcript; talk: Talk } {
  const t = new Transcript();
  if (bound) t.bind("api.github.com", options.to ?? WEB);
  const talk = t.talk(options);
  talk.open();
  return { t, talk };
}

describe("an allowed hello", () => {
  test("goes, and the flow is handed over with the server's first record", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client(hello))).toBe("pass");
    expect(t.outcome).toBe("Allow github RuleMatched");
    expect(t.last).toMatchObject({ kind: "flow", application: "TLS", name: "api.github.com", state: "allowed" });
    expect(t.of(talk.acknowledge())).toBe("pass");
    expect(t.of(talk.server(serverHello))).toBe("allow");
    expect(t.inspector.flows).toBe(0);
  });

  test.each([1, 2, 7, 40])("in segments of %i bytes (EVASION 1, 2)", (size) => {
    const { t, talk } = opened();
    const ids: number[] = [];
    for (let at = 0; at < hello.length; at += size) ids.push(talk.client(hello.subarray(at, at + size)));
    expect(ids.map((id) => t.of(id)).filter((word) => word !== "pass" && word !== "confirm")).toEqual([]);
    expect(t.outcome).toBe("Allow github RuleMatched");
  });

  test.each([1, 3, 16])("cut into records of %i bytes (EVASION 22, 23)", (recordSize) => {
    const { t, talk } = opened();
    const cut = clientHello({ names: ["api.github.com"], recordSize });
    const ids = [talk.client(cut.subarray(0, 33)), talk.client(cut.subarray(33))];
    expect(ids.map((id) => t.of(id))).toEqual(["pass", "pass"]);
    expect(t.outcome).toBe("Allow github RuleMatched");
  });

  test("in reverse order is held until it is complete (EVASION 3)", () => {
    const { t, talk } = opened();
    const last = talk.client(hello.subarray(100), { at: 100 });
    const middle = talk.client(hello.subarray(50, 100), { at: 50 });
    expect([t.of(last), t.of(middle)]).toEqual(["held", "held"]);
    const first = talk.client(hello.subarray(0, 50), { at: 0 });
    expect([t.of(first), t.of(middle), t.of(last)]).toEqual(["pass", "pass", "pass"]);
  });

  test("with sequence numbers that wrap inside it (EVASION 19)", () => {
    const { t, talk } = opened({ isn: 0xffffffe0 });
    const ids = [talk.client(hello.subarray(0, 60)), talk.client(hello.subarray(60))];
    expect(ids.map((id) => t.of(id))).toEqual(["pass", "pass"]);
    expect(t.of(talk.acknowledge(hello.length, serverHello))).toBe("allow");
  });

  test.each([{ postQuantum: true }, { padding: 15_000 }, { padding: 50_000 }])(
    "of size %o (EVASION 24, 25)",
    (size) => {
      const { t, talk } = opened();
      const large = clientHello({ names: ["api.github.com"], ...size });
      const ids: number[] = [];
      for (let at = 0; at < large.length; at += 1400) {
        ids.push(talk.client(large.subarray(at, at + 1400)));
        if (talk.clientNext > 12 * 1400 && at % 7000 === 0) talk.acknowledge(talk.clientNext - 12 * 1400);
      }
      expect(ids.map((id) => t.of(id)).filter((word) => word !== "pass" && word !== "confirm")).toEqual([]);
      expect(t.outcome).toBe("Allow github RuleMatched");
    },
  );

  test("whose name is not yet bound waits for the resolver", () => {
    const { t, talk } = opened({ to: OTHER }, false);
    const id = talk.client(hello);
    expect(t.of(id)).toBe("held");
    expect(t.resolves[0]?.names).toEqual(["api.github.com"]);
    t.inspector.resolved(1, [{ name: "api.github.com", aliases: [], addresses: [talk.destination], ttl: 1 }], t.now);
    expect(t.of(id)).toBe("pass");
  });

  test("to an address that its name does not have is denied (EVASION 30)", () => {
    const { t, talk } = opened({ to: OTHER }, false);
    const id = talk.client(hello);
    t.inspector.resolved(1, [], t.now);
    expect(t.of(id)).toBe("cut");
    expect(t.outcome).toBe("Deny - NotResolved");
  });
});

describe("a denied hello", () => {
  test("never goes; the client hears an alert, the server a reset", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client(evil))).toBe("cut");
    expect(t.said("client")).toEqual([alert]);
    expect(t.said("server")).toEqual([`RST ${talk.isn + 1}`]);
    expect(t.last).toMatchObject({ name: "evil.example.com", decision: { action: "Deny" }, state: "rejected" });
    expect(t.inspector.flows).toBe(0);
    talk.remembered = 1;
    expect(t.of(talk.client("more"))).toBe("reject");
  });

  test.each([
    ["no name (EVASION 27)", clientHello({})],
    ["an address for a name (EVASION 26)", clientHello({ names: ["203.0.113.80"] })],
    ["two names (EVASION 26)", clientHello({ names: ["api.github.com", "evil.example.com"] })],
    ["a NUL in the name (EVASION 26)", clientHello({ names: ["api.github.com\0.evil.example.com"] })],
    ["an SSLv2 hello (EVASION 29)", Uint8Array.of(0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10, 1, 2, 3)],
    ["an alert first (EVASION 29)", concat(record(21, [1, 0]), hello)],
    ["a ChangeCipherSpec first (EVASION 29)", concat(record(20, [1]), hello)],
    ["application data first (EVASION 29)", concat(record(23, [1, 2, 3]), hello)],
    ["bytes that are no TLS (EVASION 31)", Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)],
  ])("%s", (_, bytes) => {
    const { t, talk } = opened();
    expect(["cut", "reject"]).toContain(t.of(talk.client(bytes)));
    expect(t.last.decision.action).toBe("Deny");
    expect(t.said("server")).toEqual([`RST ${talk.isn + 1}`]);
  });

  test("upper case and a trailing dot are the same name (EVASION 26)", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client(clientHello({ names: ["API.GitHub.com."] })))).toBe("pass");
  });

  test("GREASE or real ECH with an allowed outer name works (EVASION 27)", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client(clientHello({ names: ["api.github.com"], ech: 180 })))).toBe("pass");
  });
});

describe("copies", () => {
  test("with other bytes, before the decision, cut the flow (EVASION 4, 7, 8)", () => {
    const { t, talk } = opened();
    talk.client(hello.subarray(0, 120), { ttl: 3 });
    expect(t.of(talk.client(evil.subarray(40, 120), { at: 40 }))).toBe("reject");
    expect(t.outcome).toBe("Deny - AmbiguousCopy");
    expect(t.inspector.counters.ambiguousCopies).toBe(1);
  });

  test("with other bytes, after the decision but before the acknowledgement, cut the flow (EVASION 6)", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client(hello, { ttl: 3 }))).toBe("pass");
    expect(t.of(talk.client(evil, { at: 0 }))).toBe("cut");
    expect(t.said("server")).toEqual([`RST ${talk.isn + 1 + hello.length}`]);
  });

  test("that are identical pass, once the first has", () => {
    const { t, talk } = opened();
    talk.client(hello);
    expect(t.of(talk.client(hello, { at: 0 }))).toBe("pass");
  });

  test("out of order that contradict each other cut the flow (EVASION 4)", () => {
    const { t, talk } = opened();
    talk.client(hello.subarray(60, 120), { at: 60 });
    talk.client(evil.subarray(40, 100), { at: 40 });
    expect(t.of(talk.client(hello.subarray(0, 40), { at: 0 }))).toBe("reject");
    expect(t.outcome).toBe("Deny - AmbiguousCopy");
  });

  test("left of the first byte are dropped (EVASION 5)", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client("xxxx", { at: -4 }))).toBe("drop");
    expect(t.of(talk.client(hello))).toBe("pass");
  });
});

describe("segments that a server may discard are dropped", () => {
  const signed = Uint8Array.of(19, 18, ...new Array<number>(16).fill(1));
  test.each([
    ["a bad checksum (EVASION 8)", { badChecksum: true }],
    ["an MD5 signature (EVASION 9)", { options: signed }],
    ["no ACK flag (EVASION 9)", { flags: TCP_FLAG.psh }],
    ["an acknowledgement of what was never sent (EVASION 9)", { ack: 7_900_000 }],
    ["an acknowledgement from before the connection (EVASION 9)", { ack: 6_000_000 }],
    ["the urgent flag (EVASION 15)", { flags: TCP_FLAG.ack | TCP_FLAG.urg }],
    ["beyond the window (EVASION 10)", { at: 70_000 }],
  ])("%s", (_, options) => {
    const { t, talk } = opened();
    expect(readTcpOptions(signed, 0, signed.length).signed).toBe(true);
    expect(t.of(talk.client(evil, { at: 0, ...options }))).toBe("drop");
    expect(t.of(talk.client(hello, { at: 0 }))).toBe("pass");
  });

  test("a reset that is not exact (EVASION 11)", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client("", { at: 9, flags: TCP_FLAG.rst }))).toBe("drop");
    expect(t.of(talk.client(hello))).toBe("pass");
  });

  test("an exact reset ends the state: later bytes find no decision (EVASION 11)", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client("", { flags: TCP_FLAG.rst | TCP_FLAG.ack, ttl: 2 }))).toBe("pass");
    expect(t.of(talk.client(hello))).toBe("reject");
  });

  test("a SYN-ACK of the client, or a SYN of the server (EVASION 13)", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    const talk = t.talk();
    talk.syn();
    expect(t.of(talk.server("", { at: -1, flags: TCP_FLAG.syn, ack: 0 }))).toBe("drop");
    expect(t.of(talk.client("", { at: -1, flags: TCP_FLAG.syn | TCP_FLAG.ack }))).toBe("drop");
  });
});

describe("HelloRetryRequest (EVASION 28)", () => {
  test("the second hello with the same name is read, then the flow is handed over", () => {
    const { t, talk } = opened();
    talk.client(hello);
    expect(t.of(talk.acknowledge(hello.length, retry))).toBe("pass");
    expect(t.of(talk.client(concat(record(20, [1]), hello)))).toBe("pass");
    expect(t.of(talk.acknowledge(talk.clientNext))).toBe("allow");
  });

  test("with another name it is cut before it goes", () => {
    const { t, talk } = opened();
    talk.client(hello);
    talk.acknowledge(hello.length, retry);
    expect(t.of(talk.client(evil))).toBe("cut");
    expect(t.last.decision.action).toBe("Deny");
  });

  test("sent before it was asked for it waits, and is cut when it was", () => {
    const { t, talk } = opened();
    talk.client(hello);
    const early = talk.client(evil);
    expect(t.of(early)).toBe("held");
    expect(t.of(talk.acknowledge(hello.length, retry))).toBe("pass");
    expect(t.of(early)).toBe("cut");
  });

  test("early data may pass meanwhile", () => {
    const { t, talk } = opened();
    talk.client(hello);
    expect(t.of(talk.client(record(23, new Uint8Array(100))))).toBe("pass");
  });
});

describe("an incomplete hello (docs/adr/0006)", () => {
  test("is held, and goes piecewise after 100 ms to a bound address", () => {
    const { t, talk } = opened();
    const id = talk.client(hello.subarray(0, 20));
    t.wait(99);
    expect(t.of(id)).toBe("held");
    t.wait(1);
    expect(t.of(id)).toBe("confirm");
  });

  test("stays held where the address is bound to nothing, until facts end", () => {
    const { t, talk } = opened({}, false);
    const id = talk.client(hello.subarray(0, 20));
    t.wait(5000);
    expect(t.of(id)).toBe("held");
    t.wait(26_000);
    expect(t.of(id)).toBe("cut");
    expect(t.last.decision.action).toBe("Deny");
  });

  test("dripped slowly is over when facts end (EVASION 18)", () => {
    const { t, talk } = opened();
    for (let i = 0; i < 31 && t.records.length === 0; i++) {
      talk.client(hello.subarray(i, i + 1));
      t.wait(1000);
    }
    expect(t.last.decision.action).toBe("Deny");
    expect(t.inspector.flows).toBe(0);
  });

  test("ends with the client's FIN", () => {
    const { t, talk } = opened();
    talk.client(hello.subarray(0, 20));
    talk.fin();
    expect(t.last.decision.action).toBe("Deny");
    expect([...t.verdicts.values()].every((list) => list.length === 1)).toBe(true);
  });
});

test("reassembly memory of one workload is bounded (EVASION 21)", () => {
  const t = new Transcript({ limits: { reassemblyBytes: 20_000 } });
  t.bind("api.github.com", WEB);
  const large = clientHello({ names: ["api.github.com"], padding: 15_000 });
  for (let i = 0; i < 5; i++) {
    const talk = t.talk({ sourcePort: 2000 + i });
    talk.open();
    for (let at = 0; at < 12_000; at += 1200) talk.client(large.subarray(at, at + 1200));
  }
  expect(t.records.some((event) => event.decision.reason === "LimitReached")).toBe(true);
  t.wait(60_000);
  expect([...t.sent.keys()].map((id) => t.of(id))).not.toContain("held");
});

describe("whatever the segmentation", () => {
  const cuts = fc.array(fc.integer({ min: 1, max: hello.length - 1 }), { maxLength: 12 });
  const shuffle = fc.array(fc.nat(1000), { minLength: 13, maxLength: 13 });
  const copies = fc.array(fc.nat(12), { maxLength: 6 });

  function segments(bytes: Uint8Array, at: readonly number[]): [number, number][] {
    const edges = [...new Set([0, ...at.filter((one) => one < bytes.length), bytes.length])].sort((a, b) => a - b);
    return edges.slice(1).map((end, i) => [edges[i]!, end]);
  }

  function play(
    bytes: Uint8Array,
    at: number[],
    order: number[],
    again: number[],
  ): { t: Transcript; talk: Talk; got: Uint8Array } {
    const { t, talk } = opened();
    const parts = segments(bytes, at).map((part, i) => ({ part, key: order[i % order.length]! }));
    const list = parts.sort((a, b) => a.key - b.key).map(({ part }) => part);
    for (const i of again) list.splice((i * 7) % (list.length + 1), 0, list[i % list.length]!);
    const where = new Map<number, [number, number]>();
    for (const [start, end] of list) where.set(talk.client(bytes.subarray(start, end), { at: start }), [start, end]);
    t.wait(50);
    const got = new Uint8Array(bytes.length);
    for (const id of t.passed) for (let i = where.get(id)?.[0] ?? 0; i < (where.get(id)?.[1] ?? 0); i++) got[i] = 1;
    return { t, talk, got };
  }

  test("an allowed hello gets through whole, each packet with one verdict", () => {
    fc.assert(
      fc.property(cuts, shuffle, copies, (at, order, again) => {
        const { t, talk, got } = play(hello, at, order, again);
        expect(got.every((one) => one === 1)).toBe(true);
        expect(t.of(talk.acknowledge(hello.length, serverHello))).toBe("allow");
        t.wait(60_000);
        expect([...t.sent.keys()].every((id) => t.verdicts.get(id)?.length === 1)).toBe(true);
      }),
      { numRuns: runs(150) },
    );
  });

  test("a denied hello never gets through whole", () => {
    fc.assert(
      fc.property(cuts, shuffle, copies, (at, order, again) => {
        const { t, got } = play(evil, at, order, again);
        expect(got.every((one) => one === 1)).toBe(false);
        t.wait(60_000);
        expect([...t.sent.keys()].every((id) => t.verdicts.get(id)?.length === 1)).toBe(true);
        expect(t.records[0]!.decision.action).toBe("Deny");
      }),
      { numRuns: runs(150) },
    );
  });
});
