import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseDnsMessage } from "../../../src/packet/dns.ts";
import { a, aaaa, cname, dnsMessage, https, type MessageParts, query } from "../../support/dns-message.ts";
import { ascii } from "../../support/hello.ts";
import { runs } from "../../support/runs.ts";
import { APP, OBSERVED, Scene, TWIN } from "./scene.ts";

const NAME = "api.github.com";

function answer(parts: MessageParts, name: string | Uint8Array = NAME, type = 1): Uint8Array {
  return dnsMessage({ response: true, questions: [{ name, type }], ...parts });
}

function asked(type = 1, options = {}): Scene {
  const scene = new Scene(options);
  expect(scene.ask(query(NAME, type)).kind).toBe("pass");
  return scene;
}

describe("an answer to a question", () => {
  test("passes as it is and is learned", () => {
    const scene = asked();
    expect(scene.reply(answer({ answers: [a(NAME, "192.0.2.1"), a(NAME, "192.0.2.2")] }))).toEqual({
      kind: "pass",
      patched: null,
      patches: [],
    });
    expect(scene.bound("192.0.2.1").names).toEqual([NAME]);
    expect(scene.bound("192.0.2.2").names).toEqual([NAME]);
    expect(scene.bound("192.0.2.1", TWIN).names).toEqual([]);
  });

  test("AAAA", () => {
    const scene = asked(28);
    scene.reply(answer({ answers: [aaaa(NAME, [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7])] }, NAME, 28));
    expect(scene.bound("2001:db8::7").names).toEqual([NAME]);
  });

  test("mixed case (0x20) is the same name", () => {
    const scene = new Scene();
    scene.ask(query("aPi.GiThUb.CoM"));
    expect(scene.reply(answer({ answers: [a("API.github.com", "192.0.2.1")] }, "apI.GITHUB.com")).kind).toBe("pass");
    expect(scene.bound("192.0.2.1").names).toEqual([NAME]);
  });

  test("names under the cluster domain are learned too, with addresses inside", () => {
    const scene = new Scene();
    scene.ask(query("web.ns.svc.cluster.local"));
    scene.reply(answer({ answers: [a("web.ns.svc.cluster.local", "10.96.1.20")] }, "web.ns.svc.cluster.local"));
    expect(scene.bound("10.96.1.20").names).toEqual(["web.ns.svc.cluster.local"]);
  });

  test("over TCP", () => {
    const scene = new Scene();
    scene.ask(query(NAME), APP, 40000, 6);
    expect(scene.reply(answer({ answers: [a(NAME, "192.0.2.1")] }), APP, 40000, 17).kind).toBe("drop");
    expect(scene.reply(answer({ answers: [a(NAME, "192.0.2.1")] }), APP, 40000, 6).kind).toBe("pass");
  });

  test("truncated: passes, nothing is learned", () => {
    const scene = asked();
    expect(scene.reply(answer({ truncated: true, answers: [a(NAME, "192.0.2.1")] })).kind).toBe("pass");
    expect(scene.bound("192.0.2.1").names).toEqual([]);
  });

  test("an error without a question is an answer to its flow and id", () => {
    const scene = asked();
    expect(scene.reply(dnsMessage({ response: true, rcode: 1 })).kind).toBe("pass");
    expect(scene.reply(dnsMessage({ response: true, rcode: 1 })).kind).toBe("drop");
  });

  test("an answer without a question that holds records is none", () => {
    const scene = asked();
    expect(scene.reply(dnsMessage({ response: true, answers: [a(NAME, "192.0.2.1")] })).kind).toBe("drop");
    expect(scene.bound("192.0.2.1").names).toEqual([]);
  });
});

describe("the chain", () => {
  test("the question is the name, CNAMEs are aliases, in whatever order the records stand", () => {
    const scene = asked();
    scene.reply(
      answer({
        answers: [
          a("edge.cdn.example", "192.0.2.9"),
          cname("cdn.example", "edge.cdn.example"),
          cname(NAME, "cdn.example"),
        ],
      }),
    );
    expect(scene.bound("192.0.2.9")).toEqual({ names: [NAME], aliases: ["cdn.example", "edge.cdn.example"] });
  });

  const rows: [string, MessageParts, string][] = [
    ["a record off the chain", { answers: [a(NAME, "192.0.2.1"), a("www.github.com", "192.0.2.66")] }, "192.0.2.66"],
    ["a record in the additional section", { additional: [a(NAME, "192.0.2.66")] }, "192.0.2.66"],
    ["a record in the authority section", { authority: [a(NAME, "192.0.2.66")] }, "192.0.2.66"],
    [
      "a chain that starts elsewhere",
      { answers: [cname("x.example", NAME), a("x.example", "192.0.2.66")] },
      "192.0.2.66",
    ],
    [
      "behind a name with two CNAMEs",
      {
        answers: [
          cname(NAME, "b.example"),
          cname(NAME, "c.example"),
          a("b.example", "192.0.2.66"),
          a("c.example", "192.0.2.66"),
        ],
      },
      "192.0.2.66",
    ],
    [
      "behind a name that text cannot hold",
      {
        answers: [
          cname(NAME, Uint8Array.of(3, 0x61, 0x2e, 0x62, 0)),
          a(Uint8Array.of(3, 0x61, 0x2e, 0x62, 0), "192.0.2.66"),
        ],
      },
      "192.0.2.66",
    ],
    ["an answer with an error", { rcode: 3, answers: [a(NAME, "192.0.2.66")] }, "192.0.2.66"],
    ["another class", { answers: [{ ...a(NAME, "192.0.2.66"), class: 3 }] }, "192.0.2.66"],
  ];
  test.each(rows)("%s binds nothing", (_, parts, dotted) => {
    const scene = asked();
    expect(scene.reply(answer(parts)).kind).toBe("pass");
    expect(scene.bound(dotted).names).toEqual([]);
  });

  test("a loop ends", () => {
    const scene = asked();
    scene.reply(answer({ answers: [cname(NAME, "b.example"), cname("b.example", NAME), a("b.example", "192.0.2.5")] }));
    expect(scene.bound("192.0.2.5")).toEqual({ names: [NAME], aliases: ["b.example"] });
  });

  test("at most sixteen hops", () => {
    const chain = (hops: number) => [
      cname(NAME, "n1.example"),
      ...Array.from({ length: hops - 1 }, (_, i) => cname(`n${i + 1}.example`, `n${i + 2}.example`)),
      a(`n${hops}.example`, "192.0.2.5"),
    ];
    const sixteen = asked();
    sixteen.reply(answer({ answers: chain(16) }));
    expect(sixteen.bound("192.0.2.5").names).toEqual([NAME]);
    const seventeen = asked();
    seventeen.reply(answer({ answers: chain(17) }));
    expect(seventeen.bound("192.0.2.5").names).toEqual([]);
  });

  test("the least TTL of the chain counts", () => {
    const scene = asked();
    scene.reply(answer({ answers: [cname(NAME, "b.example", 7200), a("b.example", "192.0.2.5", 90000)] }));
    scene.now += 7_199_000;
    expect(scene.bound("192.0.2.5").names).toEqual([NAME]);
    scene.now += 1_000;
    expect(scene.bound("192.0.2.5").names).toEqual([]);
  });
});

describe("HTTPS records", () => {
  const hints: [number, Uint8Array] = [4, Uint8Array.of(192, 0, 2, 30)];
  const ech: [number, Uint8Array] = [5, Uint8Array.from({ length: 40 }, () => 0x45)];

  test("hints are learned, the target is an alias", () => {
    const scene = asked(65);
    scene.reply(answer({ answers: [https(NAME, 1, "svc.example", [hints])] }, NAME, 65));
    expect(scene.bound("192.0.2.30")).toEqual({ names: [NAME], aliases: ["svc.example"] });
  });

  test("hints of an alias record are not", () => {
    const scene = asked(65);
    scene.reply(answer({ answers: [https(NAME, 0, "svc.example", [hints])] }, NAME, 65));
    expect(scene.bound("192.0.2.30").names).toEqual([]);
  });

  test("ECH keys are taken out at the same length, and the patches say where", () => {
    const scene = asked(65);
    const message = answer(
      { answers: [https(NAME, 1, "", [hints, ech])], additional: [https("x.example", 1, "", [ech])] },
      NAME,
      65,
    );
    const verdict = scene.reply(message);
    if (verdict.kind !== "pass" || verdict.patched === null) throw new Error("not patched");
    expect(verdict.patched.length).toBe(message.length);
    const parsed = parseDnsMessage(verdict.patched, 0, verdict.patched.length);
    if (parsed.kind !== "message") throw new Error("malformed");
    expect([...parsed.answers, ...parsed.additional].map((record) => record.service?.echStart)).toEqual([-1, -1]);
    expect(Buffer.from(verdict.patched).includes("EEEE")).toBe(false);
    const again = message.slice();
    for (const { offset, bytes } of verdict.patches) again.set(bytes, offset);
    expect(again).toEqual(verdict.patched);
    expect(scene.bound("192.0.2.30").names).toEqual([NAME]);
  });

  test("the bytes that were given are not changed", () => {
    const scene = asked(65);
    const message = answer({ answers: [https(NAME, 1, "", [ech])] }, NAME, 65);
    const before = message.slice();
    scene.reply(message);
    expect(message).toEqual(before);
  });

  test("an observed workload keeps its keys", () => {
    const scene = new Scene();
    scene.ask(query(NAME, 65), OBSERVED);
    expect(scene.reply(answer({ answers: [https(NAME, 1, "", [hints, ech])] }, NAME, 65), OBSERVED)).toMatchObject({
      patched: null,
    });
    expect(scene.bound("192.0.2.30", OBSERVED).names).toEqual([NAME]);
  });
});

describe("rebinding: whoever writes an allowed zone opens nothing inside", () => {
  const four = [
    ["loopback", "127.0.0.1"],
    ["metadata", "169.254.169.254"],
    ["another cloud's metadata", "100.100.100.200"],
    ["link-local", "169.254.1.1"],
    ["unspecified", "0.0.0.0"],
    ["multicast", "224.0.0.1"],
    ["broadcast", "255.255.255.255"],
    ["a pod", "10.244.0.9"],
    ["a service", "10.96.0.1"],
    ["a node", "192.0.2.250"],
  ];
  test.each(four)("%s %s", (_, dotted) => {
    const scene = asked();
    expect(scene.reply(answer({ answers: [a(NAME, dotted), a(NAME, "192.0.2.1")] })).kind).toBe("pass");
    expect(scene.bound(dotted).names).toEqual([]);
    expect(scene.bound("192.0.2.1").names).toEqual([NAME]);
  });

  const six: [string, string, number[]][] = [
    ["loopback", "::1", [0, 0, 0, 0, 0, 0, 0, 1]],
    ["link-local", "fe80::1", [0xfe80, 0, 0, 0, 0, 0, 0, 1]],
    ["multicast", "ff02::1", [0xff02, 0, 0, 0, 0, 0, 0, 1]],
    ["metadata", "fd00:ec2::254", [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]],
    ["metadata through NAT64", "64:ff9b::a9fe:a9fe", [0x64, 0xff9b, 0, 0, 0, 0, 0xa9fe, 0xa9fe]],
    ["loopback through 6to4", "2002:7f00:1::", [0x2002, 0x7f00, 1, 0, 0, 0, 0, 0]],
    ["a pod through NAT64", "64:ff9b::af4:9", [0x64, 0xff9b, 0, 0, 0, 0, 0x0af4, 9]],
  ];
  test.each(six)("%s %s", (_, text, words) => {
    const scene = asked(28);
    scene.reply(answer({ answers: [aaaa(NAME, words)] }, NAME, 28));
    expect(scene.bound(text).names).toEqual([]);
  });

  test("metadata in mapped form", () => {
    const scene = asked(28);
    scene.reply(answer({ answers: [aaaa(NAME, [0, 0, 0, 0, 0, 0xffff, 0xa9fe, 0xa9fe])] }, NAME, 28));
    expect(scene.bound("169.254.169.254").names).toEqual([]);
  });

  test("a private range of the company is bound", () => {
    const scene = asked();
    scene.reply(answer({ answers: [a(NAME, "10.20.30.40")] }));
    expect(scene.bound("10.20.30.40").names).toEqual([NAME]);
  });
});

describe("answers that nobody asked for", () => {
  const good = answer({ answers: [a(NAME, "192.0.2.66")] });
  const rows: [string, Uint8Array, number, number][] = [
    ["another id", answer({ id: 0x1235, answers: [a(NAME, "192.0.2.66")] }), APP, 40000],
    ["another name", answer({ answers: [a("www.github.com", "192.0.2.66")] }, "www.github.com"), APP, 40000],
    ["another type", answer({ answers: [a(NAME, "192.0.2.66")] }, NAME, 28), APP, 40000],
    ["another port", good, APP, 40001],
    ["another workload", good, TWIN, 40000],
    ["not an answer", query(NAME), APP, 40000],
    ["cut short", good.slice(0, -1), APP, 40000],
  ];
  test.each(rows)("%s", (_, message, workloadId, port) => {
    const scene = asked();
    expect(scene.reply(message, workloadId, port).kind).toBe("drop");
    for (const id of [APP, TWIN]) expect(scene.bound("192.0.2.66", id).names).toEqual([]);
    expect(scene.reply(good).kind).toBe("pass");
  });

  test("a second answer to one question", () => {
    const scene = asked();
    scene.reply(answer({ answers: [a(NAME, "192.0.2.1")] }));
    expect(scene.reply(good)).toEqual({ kind: "drop", why: "Unasked" });
    expect(scene.bound("192.0.2.66").names).toEqual([]);
  });

  test("ten seconds later", () => {
    const scene = asked();
    scene.now += 10_000;
    expect(scene.reply(good).kind).toBe("drop");
  });

  test("a question that was sent again waits for ten seconds more, whatever else its flow asked", () => {
    const scene = asked();
    scene.ask(query("www.github.com"));
    scene.now += 6_000;
    scene.ask(query(NAME));
    scene.now += 6_000;
    scene.ask(query("other.github.com"), APP, 1);
    expect(scene.reply(answer({ answers: [] }, "www.github.com")).kind).toBe("drop");
    expect(scene.reply(good).kind).toBe("pass");
  });

  test("of five questions of one flow under one id the first is given up", () => {
    const scene = new Scene();
    const names = ["a", "b", "c", "d", "e"].map((label) => `${label}.github.com`);
    for (const name of names) scene.ask(query(name));
    const kinds = names.map((name) => scene.reply(answer({ answers: [] }, name)).kind);
    expect(kinds).toEqual(["drop", "pass", "pass", "pass", "pass"]);
  });

  test("after a denial", () => {
    const scene = new Scene();
    scene.ask(query("denied.example"));
    expect(scene.reply(answer({ answers: [a("denied.example", "192.0.2.66")] }, "denied.example")).kind).toBe("drop");
  });

  test("pass to an observed workload, and are not learned", () => {
    const scene = new Scene();
    expect(scene.reply(good, OBSERVED).kind).toBe("pass");
    expect(scene.bound("192.0.2.66", OBSERVED).names).toEqual([]);
    expect(scene.reply(Uint8Array.of(1), OBSERVED).kind).toBe("pass");
  });

  test("a flood of questions drops the oldest of its own workload only", () => {
    const scene = new Scene({ limits: { pendingQuestions: 10 } });
    scene.ask(query(NAME), TWIN);
    for (let port = 1; port <= 100; port++) scene.ask(query(NAME), APP, port);
    expect(scene.reply(good, APP, 90).kind).toBe("drop");
    expect(scene.reply(good, APP, 91).kind).toBe("pass");
    expect(scene.reply(good, TWIN).kind).toBe("pass");
  });
});

describe("properties", () => {
  test("random bytes as answer teach nobody anything, and as question never throw", () => {
    const base = answer({ answers: [cname(NAME, "b.example"), a("b.example", "192.0.2.66")] });
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 120 }),
      fc.tuple(fc.nat(base.length - 1), fc.nat(255)).map(([at, value]) => base.with(at, value)),
      fc.nat(base.length).map((length) => base.slice(0, length)),
    );
    fc.assert(
      fc.property(
        bytes,
        fc.constantFrom(APP, TWIN, OBSERVED),
        fc.integer({ min: 40000, max: 40002 }),
        (message, to, port) => {
          const scene = asked();
          scene.ask(message, to, port);
          const other = new Scene();
          other.ask(query(NAME), APP);
          const verdict = other.reply(message, to, port);
          for (const { workloadId, name } of other.names.all(other.now)) {
            expect([workloadId, to, port, name]).toEqual([APP, APP, 40000, NAME]);
          }
          if (to !== OBSERVED && (to !== APP || port !== 40000)) expect(verdict.kind).toBe("drop");
        },
      ),
      { numRuns: runs(1000) },
    );
  });

  test("an answer is learned only under the question it answers", () => {
    const names = ["api.github.com", "raw.github.com", "a.cluster.local"];
    const step = fc.record({
      asks: fc.boolean(),
      workload: fc.constantFrom(APP, TWIN, OBSERVED),
      port: fc.integer({ min: 1, max: 2 }),
      id: fc.integer({ min: 1, max: 2 }),
      name: fc.constantFrom(...names),
      address: fc.integer({ min: 1, max: 200 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const scene = new Scene();
        const waiting = new Set<string>();
        const expected = new Set<string>();
        for (const { asks, workload, port, id, name, address } of steps) {
          const key = `${workload} ${port} ${id} ${name}`;
          if (asks) {
            scene.ask(query(name, 1, { id }), workload, port);
            waiting.add(key);
          } else {
            const dotted = `192.0.2.${address}`;
            const verdict = scene.reply(answer({ id, answers: [a(name, dotted)] }, name), workload, port);
            if (waiting.delete(key)) expected.add(`${workload} ${name} ${address}`);
            else if (workload !== OBSERVED) expect(verdict.kind).toBe("drop");
          }
        }
        const learned = [...scene.names.all(scene.now)].map((b) => `${b.workloadId} ${b.name} ${b.address.w3 & 255}`);
        expect(new Set(learned)).toEqual(expected);
      }),
    );
  });
});

test("text in a label is no way around: names are compared whole", () => {
  const scene = new Scene();
  expect(scene.ask(query(Uint8Array.of(8, ...ascii("evilgith"), 3, ...ascii("com"), 0))).kind).toBe("deny");
});
