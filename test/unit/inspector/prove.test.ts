import { describe, expect, test } from "vitest";
import { STATE } from "../../../src/model/verdict.ts";
import { TCP_FLAG } from "../../../src/packet/tcp.ts";
import { clientHello, concat, record } from "../../support/hello.ts";
import { type Talk, Transcript, type TranscriptOptions, WEB } from "./transcript.ts";

const hello = clientHello({ names: ["api.github.com"] });
const evil = clientHello({ names: ["evil.example.com"] });
const serverHello = record(22, concat([2, 0, 0, 38, 3, 3], new Array<number>(32).fill(9), [0, 0x13, 1, 0]), 0x0303);
const RETRY = Buffer.from("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c", "hex");
const retry = record(22, concat([2, 0, 0, 38, 3, 3], RETRY, [0, 0x13, 1, 0]), 0x0303);
const FORWARD = /pass|allow|look|http|confirm|prove/;

function opened(options: TranscriptOptions = {}, more: { sourcePort?: number; isn?: number } = {}) {
  const t = new Transcript(options);
  t.bind("api.github.com", WEB);
  return { t, talk: open(t, more) };
}

function open(t: Transcript, more: { sourcePort?: number; isn?: number } = {}): Talk {
  const talk = t.talk({ to: WEB, ...more });
  expect(t.of(talk.syn())).toBe("look");
  talk.remembered = STATE.looking;
  return talk;
}

/** The hello has gone; whatever comes now is what the kernel asks about in state `proving`. */
function proved(): { t: Transcript; talk: Talk } {
  const { t, talk } = opened();
  expect(t.exactly(talk.client(hello))).toBe("prove");
  expect(t.inspector.flows).toBe(0);
  return { t, talk };
}

describe("an allowed hello", () => {
  test("gives the flow to the kernel, to be proved by the server's record", () => {
    const { t, talk } = proved();
    expect(t.outcome).toBe("Allow github RuleMatched");
    expect(t.records.length).toBe(1);
    expect(t.exactly(talk.client(hello, { at: 0 }))).toBe("unprove");
  });

  test("in pieces does so with the last of them", () => {
    const { t, talk } = opened();
    const ids = [hello.subarray(0, 60), hello.subarray(60, 90), hello.subarray(90)].map((part) => talk.client(part));
    expect(ids.map((id) => t.exactly(id))).toEqual(["pass", "pass", "prove"]);
  });

  test.each([
    [
      "with early data behind it",
      (talk: Talk) => talk.client(concat(hello, record(23, new Array<number>(40).fill(1)))),
    ],
    ["with the end of the connection", (talk: Talk) => talk.client(hello, { flags: 0x19 })],
  ])("%s is followed as before", (_, say) => {
    const { t, talk } = opened();
    expect(t.exactly(say(talk))).not.toMatch(/prove/);
    expect(t.inspector.flows).toBe(1);
  });

  test("too large to be kept is followed as before", () => {
    const { t, talk } = opened();
    const large = clientHello({ names: ["api.github.com"], padding: 3000 });
    const ids = [0, 1400, 2800].map((at) => talk.client(large.subarray(at, at + 1400)));
    expect(ids.map((id) => t.exactly(id))).not.toContain("prove");
    expect(t.of(talk.acknowledge(large.length, serverHello))).toBe("allow");
  });
});

describe("while it is proved", () => {
  test("the hello sent again passes, and the server's record is asked about from then on", () => {
    const { t, talk } = proved();
    expect(t.exactly(talk.client(hello, { at: 0 }))).toBe("unprove");
    expect(t.exactly(talk.client(hello, { at: 0 }))).toBe("pass");
    expect(t.of(talk.acknowledge(hello.length, serverHello))).toBe("allow");
    expect(t.records.length).toBe(1);
    expect(t.inspector.flows).toBe(0);
  });

  test.each([
    ["another hello", evil],
    ["a hello of which one byte differs", hello.map((byte, at) => (at === 70 ? byte ^ 1 : byte))],
  ])("%s in its place cuts the flow (EVASION 6, 7)", (_, other) => {
    const { t, talk } = proved();
    expect(t.of(talk.client(other, { at: 0 }))).not.toMatch(FORWARD);
    expect(t.last.decision.reason).toBe("AmbiguousCopy");
    expect(t.of(talk.client(hello, { at: 0 }))).not.toMatch(FORWARD);
  });

  test("a second hello behind it waits for the server to ask (EVASION 28)", () => {
    const { t, talk } = proved();
    const second = talk.client(evil);
    expect(t.of(second)).toBe("held");
    expect(t.exactly(talk.acknowledge(hello.length, retry))).toBe("unprove");
    expect(t.of(second)).not.toMatch(FORWARD);
  });

  test("a HelloRetryRequest is answered by the same name or not at all", () => {
    for (const [second, passes] of [
      [hello, true],
      [evil, false],
    ] as const) {
      const { t, talk } = proved();
      expect(t.exactly(talk.acknowledge(hello.length, retry))).toBe("unprove");
      expect(FORWARD.test(t.of(talk.client(second)))).toBe(passes);
    }
  });

  test("early data passes", () => {
    const { t, talk } = proved();
    expect(t.exactly(talk.client(record(23, new Array<number>(40).fill(1))))).toBe("unprove");
    expect(t.of(talk.acknowledge(hello.length, serverHello))).toBe("allow");
  });

  test("an alert of the server, a piece of its record or other words hand over as before", () => {
    for (const words of [record(21, [2, 40], 0x0303), "220 hello"]) {
      const { t, talk } = proved();
      expect(t.of(talk.acknowledge(hello.length, words))).toBe("allow");
    }
    const { t, talk } = proved();
    expect(t.exactly(talk.acknowledge(hello.length, serverHello.subarray(0, 4)))).toBe("unprove");
    expect(t.of(talk.acknowledge(hello.length, serverHello.subarray(4)))).toBe("allow");
  });

  test("the server's words that acknowledge more than was sent are not its own", () => {
    const { t, talk } = proved();
    expect(t.of(talk.acknowledge(hello.length + 100, serverHello))).toBe("drop");
  });

  test("the client's reset and end pass", () => {
    const { t, talk } = proved();
    expect(t.exactly(talk.client("", { flags: TCP_FLAG.rst, at: hello.length }))).toBe("unprove");
    expect(t.inspector.flows).toBe(0);
    const other = proved();
    expect(other.t.of(other.talk.client("", { flags: TCP_FLAG.fin | TCP_FLAG.ack }))).toBe("pass");
  });

  test("a new connection with its ports begins anew (EVASION 14)", () => {
    const { t, talk } = proved();
    const next = t.talk({ to: WEB, isn: talk.isn + 50_000 });
    next.remembered = STATE.allowed;
    expect(t.of(next.syn())).toBe("confirm");
    expect(t.of(talk.client(hello, { at: 0 }))).toBe("drop");
  });
});

describe("a kept hello", () => {
  test("is forgotten after a minute: who sends it again is reset", () => {
    const { t, talk } = proved();
    t.wait(61_000);
    expect(t.of(talk.client(hello, { at: 0 }))).toBe("reject");
  });

  test("is the oldest of its workload's when that keeps too many", () => {
    const { t, talk: first } = proved();
    let last = first;
    for (let port = 1; port <= 4096; port++) {
      last = open(t, { sourcePort: port });
      expect(t.exactly(last.client(hello))).toBe("prove");
    }
    expect(t.of(first.client(hello, { at: 0 }))).toBe("reject");
    expect(t.exactly(last.client(hello, { at: 0 }))).toBe("unprove");
  });

  test("of a flow that is followed again is forgotten after two minutes", () => {
    const { t, talk } = proved();
    expect(t.exactly(talk.client(hello, { at: 0 }))).toBe("unprove");
    t.wait(119_000);
    expect(t.inspector.flows).toBe(1);
    t.wait(2_000);
    expect(t.inspector.flows).toBe(0);
  });

  test("is not followed again beyond the bound of its workload", () => {
    const { t, talk } = opened({ limits: { lookingFlows: 1 } });
    expect(t.exactly(talk.client(hello))).toBe("prove");
    open(t, { sourcePort: 777 });
    expect(t.of(talk.client(hello, { at: 0 }))).toBe("drop");
  });
});
