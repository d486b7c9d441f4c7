import fc from "fast-check";
import { expect, test } from "vitest";
import { FROM_SERVER, QUESTION, REMEMBERED_SHIFT, TO_RESOLVER } from "../../../src/model/verdict.ts";
import { buildTcp, buildUdp } from "../../../src/packet/build.ts";
import { address, compileScene, policy } from "../../support/cases.ts";
import { ascii, clientHello } from "../../support/hello.ts";
import { runs } from "../../support/runs.ts";
import { APP, GUARDED, PLAIN, RESOLVER, scene, Transcript, WATCHED, WEB } from "./transcript.ts";

const full = compileScene(scene());
const bare = compileScene({ ...scene(), policies: [policy("nothing", [])] });
const fewer = compileScene({ ...scene(), workloads: scene().workloads.slice(1) });
const programs = [full, bare, fewer];

const payloads = [
  new Uint8Array(0),
  clientHello({ names: ["api.github.com"] }),
  clientHello({ names: ["api.github.com"] }).subarray(0, 60),
  clientHello({ names: ["evil.example.com"], recordSize: 20 }),
  ascii("GET /ok HTTP/1.1\r\nHost: api.example.com\r\n\r\n"),
  ascii("POST /ok HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
  ascii("GET /ok HTT"),
  ascii("0\r\n\r\n"),
  ascii("220 hello\r\n"),
  Uint8Array.of(0, 20, 0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 2, 99, 111, 0, 0, 1, 0, 1),
  Uint8Array.of(0xc0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0),
];

const pods = [APP, PLAIN, WATCHED, GUARDED, "10.244.0.77", "198.51.100.9"];
const servers = [WEB, RESOLVER, "203.0.113.22"];
const ports = [443, 80, 25, 53, 8443, 5300];

const step = fc.record({
  what: fc.nat(19),
  pod: fc.oneof(fc.constant(0), fc.nat(pods.length - 1)),
  server: fc.nat(servers.length - 1),
  port: fc.nat(ports.length - 1),
  sourcePort: fc.nat(1),
  payload: fc.nat(payloads.length - 1),
  flags: fc.constantFrom(2, 16, 16, 24, 24, 24, 17, 4, 20, 18, 56, 0),
  fromServer: fc.boolean(),
  at: fc.constantFrom(0, 0, 0, 10, 60, -1, 44, 70_000),
  remembered: fc.nat(3),
  pause: fc.constantFrom(0, 0, 0, 1, 100, 1000, 31_000),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function packetOf(one: Step): { bytes: Uint8Array; question: number } {
  const pod = address(pods[one.pod]!);
  const server = address(servers[one.server]!);
  const port = ports[one.port]!;
  const sourcePort = 1000 + one.sourcePort;
  const payload = payloads[one.payload]!;
  const resolver = servers[one.server] === RESOLVER && port === 53 ? TO_RESOLVER : 0;
  const question = QUESTION | resolver | (one.fromServer ? FROM_SERVER : 0) | (one.remembered << REMEMBERED_SHIFT);
  const ends = one.fromServer
    ? { source: server, destination: pod, sourcePort: port, destinationPort: sourcePort }
    : { source: pod, destination: server, sourcePort, destinationPort: port };
  if (one.what >= 18) return { bytes: buildUdp({ ...ends, payload }), question };
  const syn = (one.flags & 2) !== 0;
  const seq = (one.fromServer ? 5000 : 1000) + (syn ? 0 : 1 + one.at);
  const ack = one.fromServer ? 1001 + Math.max(one.at, 0) : 5001;
  const data = syn && one.what % 4 > 0 ? new Uint8Array(0) : payload;
  return {
    bytes: buildTcp({ ...ends, seq: seq >>> 0, ack, flags: one.flags, window: 65535, payload: data }),
    question,
  };
}

function play(steps: readonly Step[], t: Transcript): void {
  for (const one of steps) {
    if (one.pause > 0) t.wait(one.pause);
    if (one.what === 0) t.inspector.adopt(programs[one.payload % programs.length]!, t.now);
    else if (one.what === 1) {
      const answers = one.fromServer
        ? [{ name: "mail.example.com", aliases: [], addresses: [address(WEB)], ttl: 5 }]
        : [];
      t.inspector.resolved(1 + one.at, answers, t.now);
      for (const { id } of t.resolves) t.inspector.resolved(id, answers, t.now);
    } else {
      // The handshake is what random packets never find by themselves.
      if (one.what === 2) handshake(one, t);
      const { bytes, question } = packetOf(one);
      if (one.what === 3 && bytes.length > 40) bytes[32 + one.sourcePort] = one.payload;
      t.send(one.what === 4 ? bytes.subarray(0, bytes.length - one.payload) : bytes, question & 31);
    }
  }
}

function handshake(one: Step, t: Transcript): void {
  for (const [flags, fromServer] of [
    [2, false],
    [18, true],
    [16, false],
  ] as const) {
    const { bytes, question } = packetOf({ ...one, flags, fromServer, payload: 0, at: 0, what: 5, remembered: 1 });
    t.send(bytes, question & 31);
  }
}

test("property: whatever happens, nothing throws and each packet gets exactly one verdict", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, adopting) => {
      const t = new Transcript({
        program: full,
        adopting,
        limits: { lookingFlows: 6, heldPackets: 5, reassemblyBytes: 30_000 },
      });
      t.bind("api.github.com", WEB);
      t.bind("api.example.com", WEB);
      play(steps, t);
      t.inspector.adopt(full, t.now);
      t.wait(40_000);
      t.wait(40_000);
      const wrong = [...t.sent.keys()].filter((id) => t.verdicts.get(id)?.length !== 1);
      expect(wrong).toEqual([]);
    }),
    { numRuns: runs(400) },
  );
});

test("property: when all flows are gone nothing is still counted against a workload", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const t = new Transcript({ program: full, limits: { lookingFlows: 6, heldPackets: 5 } });
      t.bind("api.github.com", WEB);
      play(steps, t);
      t.inspector.adopt(full, t.now);
      t.wait(40_000);
      for (const from of pods) {
        for (const to of servers) {
          for (const port of ports) {
            for (const sourcePort of [1000, 1001]) {
              const tuple = { client: address(from), server: address(to), clientPort: sourcePort, serverPort: port };
              t.inspector.flowEnded({ protocol: 6, ...tuple });
            }
          }
        }
      }
      expect(t.inspector.flows).toBe(0);
      expect(t.inspector.nextDeadline()).toBe(Infinity);
      for (let i = 0; i < 6; i++) expect(t.of(t.talk({ sourcePort: 3000 + i }).syn())).toBe("look");
      expect(t.of(t.talk({ sourcePort: 3006 }).syn())).toBe("reject");
    }),
    { numRuns: runs(200) },
  );
});
