import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { boundariesSize } from "../../../src/inspector/request-boundaries.ts";
import { STATE } from "../../../src/model/verdict.ts";
import type { Program } from "../../../src/program/program.ts";
import { compileScene, policy, rule } from "../../support/cases.ts";
import { ascii } from "../../support/hello.ts";
import { runs } from "../../support/runs.ts";
import { scene, type Talk, type TalkOptions, Transcript, WEB } from "./transcript.ts";

const get = (path: string, host = "api.example.com", more = "") =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
const post = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const chunked = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;

interface Side {
  readonly t: Transcript;
  readonly talk: Talk;
}

const newMemory = () => new ArrayBuffer(boundariesSize(8));

/** A kept connection between its first request and the next, under an agent whose boundaries lie in `memory`. */
function kept(memory: ArrayBuffer, options: TalkOptions = {}): Side {
  const t = new Transcript({ memory });
  t.bind("api.example.com", WEB);
  const talk = t.talk({ port: 80, ...options });
  talk.open();
  talk.client(get("/ok/1"));
  talk.acknowledge(talk.clientNext, "HTTP/1.1 200 OK\r\n\r\n");
  talk.remembered = STATE.http;
  return { t, talk };
}

/** The agent after it: the same memory, the bindings of the journal, the same connection. Nothing is recalled yet. */
function started(memory: ArrayBuffer, before: Talk, program?: Program): Side {
  const t = new Transcript({ memory, ...(program === undefined ? {} : { program }) });
  t.now += 10_000;
  t.bind("api.example.com", WEB);
  const talk = t.talk({ port: 80, sourcePort: before.sourcePort, isn: before.isn });
  talk.clientNext = before.clientNext;
  talk.serverNext = before.serverNext;
  talk.remembered = STATE.http;
  return { t, talk };
}

/** `start`: when conntrack says that the entry began. */
function recall({ t, talk }: Side, start = 900_000): number {
  const tuple = {
    protocol: 6,
    client: talk.source,
    server: talk.destination,
    clientPort: talk.sourcePort,
    serverPort: talk.port,
  };
  return t.inspector.recall([{ tuple, start }], t.now);
}

function restarted(memory: ArrayBuffer, before: Talk): Side {
  const side = started(memory, before);
  expect(recall(side)).toBe(1);
  return side;
}

describe("a kept HTTP connection whose agent is killed between two requests", () => {
  test("goes on, and its requests are decided as before", () => {
    const memory = newMemory();
    const { talk } = kept(memory);
    talk.client(get("/ok/2"));
    const after = restarted(memory, talk);
    expect(after.t.of(after.talk.client(get("/ok/3")))).toBe("pass");
    expect(after.t.last).toMatchObject({
      kind: "request",
      path: "/ok/3",
      state: "http",
      decision: { action: "Allow" },
    });
    expect(after.t.of(after.talk.client(get("/no")))).toBe("cut");
    expect(after.t.said("client")[0]).toContain("403");
  });

  test("goes on after its first request, after a body, over the wrap of sequence numbers, and after a second kill", () => {
    const memory = newMemory();
    const first = kept(memory, { isn: 0xffffffff - 60 });
    const second = restarted(memory, first.talk);
    expect(second.t.of(second.talk.client(post("/ok/2", "GET /no HTTP/1.1\r\n\r\n")))).toBe("pass");
    const third = restarted(memory, second.talk);
    expect(third.t.of(third.talk.client(chunked("/ok/3", "3\r\nabc\r\n0\r\n\r\n")))).toBe("pass");
    const fourth = restarted(memory, third.talk);
    expect(fourth.t.of(fourth.talk.client(get("/ok/4")))).toBe("pass");
  });

  test("the request whose verdict was lost is sent again: the same passes, another one cuts the flow (EVASION 6)", () => {
    const memory = newMemory();
    const { talk } = kept(memory);
    const at = talk.clientNext;
    talk.client(post("/ok/2", "body"));
    const same = restarted(memory, talk);
    expect(same.t.of(same.talk.client(post("/ok/2", "body"), { at }))).toBe("pass");
    expect(same.t.of(same.talk.client(get("/ok/3")))).toBe("pass");

    const again = newMemory();
    const before = kept(again);
    before.talk.client(post("/ok/2", "body"));
    const other = restarted(again, before.talk);
    expect(other.t.of(other.talk.client(post("/no/2", "body"), { at }))).toBe("cut");
    expect(other.t.outcome).toBe("Deny - AmbiguousCopy");
  });

  test("a copy from before what is remembered resets it: nobody knows what was let go of it", () => {
    const memory = newMemory();
    const { talk } = kept(memory);
    talk.client(get("/ok/2"));
    const after = restarted(memory, talk);
    expect(after.t.of(after.talk.client(get("/ok/1"), { at: 0 }))).toBe("reject");
    expect(after.t.outcome).toBe("Deny - NoRememberedDecision");
    expect(after.t.of(after.talk.client(get("/ok/3")))).toBe("reject");
  });

  test("so does one of a request whose body was framed: of that no copy is kept", () => {
    const memory = newMemory();
    const { talk } = kept(memory);
    const at = talk.clientNext;
    talk.client(chunked("/ok/2", "3\r\nabc\r\n0\r\n\r\n"));
    const after = restarted(memory, talk);
    expect(after.t.of(after.talk.client(chunked("/ok/2", "8\r\nabc\r\n0\r\n\r\n"), { at }))).toBe("reject");
  });

  test("what conntrack does not know any more, or knows of a later connection, is forgotten", () => {
    const memory = newMemory();
    const { talk } = kept(memory);
    const later = started(memory, talk);
    expect(recall(later, later.t.now)).toBe(0);
    expect(later.t.of(later.talk.client(get("/ok/2")))).toBe("reject");
    expect(recall(restartedWithout(memory, talk))).toBe(0);
  });

  test("an entry of which conntrack does not tell the beginning is not believed", () => {
    const memory = newMemory();
    const { talk } = kept(memory);
    expect(recall(started(memory, talk), 0)).toBe(0);
  });

  test("until it is known which flows are still there, their packets are dropped and come again", () => {
    const memory = newMemory();
    const { talk } = kept(memory);
    const after = started(memory, talk);
    const at = talk.clientNext;
    expect(after.t.of(after.talk.client(get("/ok/2"), { at }))).toBe("drop");
    expect(recall(after)).toBe(1);
    expect(after.t.of(after.talk.client(get("/ok/2"), { at }))).toBe("pass");
  });

  test("a new connection with the same ports forgets the old one (EVASION 14)", () => {
    const memory = newMemory();
    const { talk } = kept(memory);
    const after = started(memory, talk);
    after.talk.remembered = STATE.none;
    expect(after.t.of(after.talk.syn())).toBe("look");
    expect(recall(after)).toBe(0);
    const third = started(memory, talk);
    expect(recall(third)).toBe(0);
  });

  test("it ends at once where the present rules deny its last request", () => {
    const memory = newMemory();
    const { talk } = kept(memory);
    const program = compileScene(
      scene([policy("z", [rule("no", "Deny", { domains: ["api.example.com"], ports: ["TCP 80"] })], { priority: 1 })]),
    );
    const after = started(memory, talk, program);
    expect(recall(after)).toBe(0);
    expect(after.t.ended).toHaveLength(1);
    expect(after.t.last.decision.reason).toBe("NoLongerAllowed");
  });
});

test("what the row says is of the last request, whatever the ones before were", () => {
  const narrow = (path: string) =>
    compileScene(
      scene([
        policy(
          "z",
          [
            rule("no", "Deny", {
              domains: ["api.example.com"],
              ports: ["TCP 80"],
              methods: ["POST"],
              paths: [{ kind: "prefix", value: path }],
            }),
          ],
          { priority: 1, defaultDeny: false },
        ),
      ]),
    );
  const memory = newMemory();
  const { t, talk } = kept(memory);
  for (const one of [get("/ok/2"), get("/ok/2"), post("/ok/three", "x"), post("/ok/three", "y")]) {
    expect(t.of(talk.client(one))).toBe("pass");
  }
  expect(recall(started(memory.slice(0), talk, narrow("/ok/three")))).toBe(0);
  expect(recall(started(memory.slice(0), talk, narrow("/ok/2")))).toBe(1);
  expect(t.of(talk.client(get("/ok/2")))).toBe("pass");
  expect(recall(started(memory.slice(0), talk, narrow("/ok")))).toBe(1);
});

describe("one that is killed elsewhere is reset", () => {
  const cases: readonly [string, (side: Side) => void][] = [
    [
      "in a body",
      ({ talk }) => talk.client(`POST /ok HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 50\r\n\r\nhalf`),
    ],
    ["between two chunks", ({ talk }) => talk.client(chunked("/ok", "3\r\nabc\r\n"))],
    [
      "in a head of which something was let go",
      ({ t, talk }) => {
        talk.client("GET /ok/2 HTTP/1.1\r\n");
        t.wait(200);
        expect(t.passed.length).toBeGreaterThan(0);
      },
    ],
    ["after its FIN", ({ talk }) => talk.fin()],
    ["after a denied request", ({ talk }) => talk.client(get("/no"))],
    ["after its reset", ({ talk }) => talk.client("", { flags: 4 })],
  ];
  for (const [where, act] of cases) {
    test(where, () => {
      const memory = newMemory();
      const side = kept(memory);
      act(side);
      const after = started(memory, side.talk);
      expect(recall(after)).toBe(0);
      expect(after.t.of(after.talk.client(get("/ok/3")))).toBe("reject");
    });
  }

  test("but not in a head of which nothing was let go: that is sent again", () => {
    const memory = newMemory();
    const { t, talk } = kept(memory);
    const at = talk.clientNext;
    expect(t.of(talk.client("GET /ok/2 HTTP/1.1\r\n"))).toBe("held");
    const after = restarted(memory, talk);
    expect(after.t.of(after.talk.client(get("/ok/2"), { at }))).toBe("pass");
  });
});

test("rows are bounded, for each workload too, and come back when flows end", () => {
  const memory = new ArrayBuffer(boundariesSize(2));
  const t = new Transcript({ memory });
  t.bind("api.example.com", WEB);
  const talks = [1, 2, 3].map((sourcePort) => {
    const talk = t.talk({ port: 80, sourcePort });
    talk.open();
    talk.client(get("/ok/1"));
    talk.acknowledge();
    talk.remembered = STATE.http;
    return talk;
  });
  talks[0]!.client("", { flags: 4 });
  expect(t.of(talks[2]!.client(get("/ok/2")))).toBe("pass");
  const after = talks.map((talk) => started(memory.slice(0), talk));
  expect(after.map((side) => recall(side))).toEqual([0, 1, 1]);
});

test("property: any bytes in the file are read without harm", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 64, maxLength: 600 }), fc.boolean(), (bytes, whole) => {
      const memory = newMemory();
      const { talk } = kept(memory);
      const spoiled = new Uint8Array(memory);
      spoiled.set(whole ? bytes : bytes.subarray(0, 200), whole ? 0 : 64 + 8 * 4);
      const after = started(memory, talk);
      recall(after);
      after.talk.client(get("/ok/2"));
    }),
    { numRuns: runs(200) },
  );
});

/** `size` -2: all but the last two bytes. `follow`: behind all that was sent, else from the first boundary. */
const step = fc.record({
  request: fc.nat(9),
  from: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.nat(120)),
  size: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(400, -2) }, fc.integer({ min: 1, max: 160 })),
  wait: fc.boolean(),
  follow: fc.boolean(),
});

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

const length = (text: string, digits = 1) => String(text.length).padStart(digits, "0");
const announced = (path: string, size: string) =>
  `POST ${path} HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: ${size}\r\n\r\n`;
const wrapped = announced("/ok/c", length(get("/no/c")));
/** Pairs that are harmless one by one: what is a body after one of them is a request after the other. */
const TEXTS = [
  get("/ok/a") + get("/ok/b"),
  wrapped + get("/no/c"),
  announced("/ok/d", length(wrapped)),
  get("/ok/e") + get("/no/e"),
  get("/no/f"),
  announced("/ok/g", "00"),
  announced("/ok/g", length(get("/no/g"), 2)) + get("/no/g"),
  chunked("/ok/h", `1e\r\n${get("/no/h").slice(0, 30)}\r\n0\r\n\r\n`),
  chunked("/ok/h", "0\r\n"),
  get("/ok/i", "api.example.com", "A: b\r\n"),
].map(ascii);

interface Copy {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** Sends the steps and gives what got away. `place.end`: behind all that was sent so far. */
function attack({ t, talk }: Side, base: number, place: { end: number }, steps: readonly Step[]): Copy[] {
  const sent = new Map<number, Copy>();
  for (const { request, from, size, wait, follow } of steps) {
    const text = TEXTS[request]!;
    const start = from % text.length;
    const bytes = text.slice(start, size < 0 ? size : start + size);
    if (bytes.length === 0) continue;
    const at = (follow ? place.end : 0) + start;
    sent.set(talk.client(bytes, { at: base + at }), { at, bytes });
    place.end = Math.max(place.end, at + bytes.length);
    if (wait) t.wait(120);
  }
  return t.passed.flatMap((id) => sent.get(id) ?? []);
}

/** What a server reads that keeps the first copy of each byte. */
function read(copies: readonly Copy[]): string {
  const bytes: number[] = [];
  for (const copy of copies) {
    for (const [i, byte] of copy.bytes.entries()) bytes[copy.at + i] ??= byte;
  }
  const gap = Array.from(bytes, (byte) => byte === undefined).indexOf(true);
  return String.fromCharCode(...(gap < 0 ? bytes : bytes.slice(0, gap)));
}

test("property: no receiver reads a request that was not inspected, whenever the agent is killed and whatever is sent after", () => {
  let goneOn = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 5 }), fc.array(step, { maxLength: 5 }), fc.nat(2), (one, two, lost) => {
      const memory = newMemory();
      const before = kept(memory);
      const base = before.talk.clientNext;
      const place = { end: 0 };
      const first = attack(before, base, place, one);
      const after = started(memory, before.talk);
      recall(after);
      const second = attack(after, base, place, two);
      if (first.length > 0 && second.length > 0) goneOn++;
      // The last verdicts of the one that was killed may not have gone out.
      const copies = [...first.slice(0, Math.max(0, first.length - lost)), ...second];
      for (const order of [copies, [...copies].reverse()]) {
        expect(requestsOf(read(order))).not.toContainEqual(expect.stringMatching(/^.?no/));
      }
    }),
    { numRuns: runs(2000) },
  );
  expect(goneOn).toBeGreaterThan(5);
});

/** The targets of the whole requests that a server reads in these bytes. */
function requestsOf(text: string): string[] {
  const targets: string[] = [];
  for (let at = 0; ; ) {
    const end = text.indexOf("\r\n\r\n", at);
    if (end < 0) return targets;
    const head = text.slice(at, end);
    targets.push(head.split(" ")[1] ?? "");
    at = end + 4 + Number(/Content-Length: (\d+)/.exec(head)?.[1] ?? 0);
    if (!head.includes("chunked")) continue;
    for (;;) {
      const line = text.indexOf("\r\n", at);
      if (line < 0) return targets;
      const size = Number.parseInt(text.slice(at, line), 16);
      at = line + 2 + size + 2;
      if (size === 0) break;
    }
  }
}

function restartedWithout(memory: ArrayBuffer, talk: Talk): Side {
  const { t } = started(memory, talk);
  t.inspector.recall([], t.now);
  return started(memory, talk);
}
