import { describe, expect, test } from "vitest";
import { buildTcp } from "../../../src/packet/build.ts";
import { newPacket, parsePacket } from "../../../src/packet/ip.ts";
import { newTcpSegment, parseTcp, TCP_FLAG, tcpChecksumOk } from "../../../src/packet/tcp.ts";
import { address, compileScene } from "../../support/cases.ts";
import { APP, APP6, OTHER, PLAIN, SSH, scene, Transcript, WATCHED, WEB, WEB6 } from "./transcript.ts";

describe("a SYN", () => {
  test("to an allowed address goes at once and is remembered", () => {
    const t = new Transcript();
    expect(t.of(t.talk({ to: SSH, port: 22 }).syn())).toBe("allow");
    expect(t.outcome).toBe("Allow partner RuleMatched");
    expect(t.inspector.flows).toBe(0);
  });

  test("to an address that nothing can open is rejected at once", () => {
    const t = new Transcript();
    expect(t.of(t.talk({ to: OTHER, port: 9999 }).syn())).toBe("reject");
    expect(t.outcome).toBe("Deny - DefaultDeny");
  });

  test("whose name must still be seen is let through to look", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    const talk = t.talk();
    expect(talk.open().map((id) => t.of(id))).toEqual(["look", "pass", "pass"]);
    expect(t.records).toEqual([]);
  });

  test("over IPv6 is the same", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB6);
    expect(t.of(t.talk({ from: APP6, to: WEB6 }).syn())).toBe("look");
    expect(t.of(t.talk({ from: APP6, to: "2001:db8::99", port: 22 }).syn())).toBe("reject");
  });

  test("sent again gets the same answer; with another number it is another flow (EVASION 14)", () => {
    const t = new Transcript();
    const talk = t.talk();
    expect(t.of(talk.syn())).toBe("look");
    expect(t.of(talk.syn())).toBe("look");
    expect(t.inspector.flows).toBe(1);
    expect(t.of(t.talk({ isn: 5555 }).syn())).toBe("confirm");
    expect(t.inspector.flows).toBe(1);
  });

  test("with data is dropped while undecided (EVASION 12), and passes where the address is enough", () => {
    const t = new Transcript();
    expect(t.of(t.talk().syn("data"))).toBe("drop");
    expect(t.inspector.flows).toBe(0);
    expect(t.of(t.talk({ to: SSH, port: 22 }).syn("data"))).toBe("allow");
  });

  test("that offers Multipath TCP goes without it", () => {
    const t = new Transcript();
    const options = Uint8Array.of(2, 4, 5, 0xb4, 30, 12, 0, 0x81, 1, 2, 3, 4, 5, 6, 7, 8);
    const id = t.talk().client("", { at: -1, flags: TCP_FLAG.syn, ack: 0, options });
    expect(t.of(id)).toBe("look");
    const out = newPacket();
    const segment = newTcpSegment();
    const sent = t.replacements.get(id)!;
    expect(parsePacket(sent, 0, sent.length, out) && parseTcp(out, segment) && tcpChecksumOk(out)).toBe(true);
    expect([...sent.subarray(segment.optionsStart, segment.payloadStart)]).toEqual([
      2,
      4,
      5,
      0xb4,
      ...new Array(12).fill(1),
    ]);
  });

  test("with FIN or RST is dropped", () => {
    const t = new Transcript();
    expect(t.of(t.talk({ to: SSH, port: 22 }).client("", { at: -1, flags: TCP_FLAG.syn | TCP_FLAG.fin }))).toBe("drop");
  });

  test("beyond the bound of looking flows is refused, other workloads are not (EVASION 20)", () => {
    const t = new Transcript({ limits: { lookingFlows: 2 } });
    expect([1, 2, 3].map((i) => t.of(t.talk({ sourcePort: 1000 + i }).syn()))).toEqual(["look", "look", "reject"]);
    expect(t.outcome).toBe("Deny - LimitReached");
    expect(t.of(t.talk({ from: "10.244.0.4", sourcePort: 1 }).syn())).toBe("look");
  });
});

describe("binding by resolution", () => {
  test("holds the SYN, asks, and decides with the answer", () => {
    const t = new Transcript();
    const talk = t.talk({ port: 25 });
    const syn = talk.syn();
    expect(t.of(syn)).toBe("held");
    expect(t.resolves).toEqual([{ id: 1, workloadId: 1, names: ["mail.example.com"] }]);
    const copy = talk.syn();
    expect(t.of(copy)).toBe("drop");
    t.inspector.resolved(1, [{ name: "mail.example.com", aliases: [], addresses: [address(WEB)], ttl: 60 }], t.now);
    expect(["look", "allow"]).toContain(t.of(syn));
  });

  test("gives up after a second", () => {
    const t = new Transcript();
    const syn = t.talk({ port: 25 }).syn();
    expect(t.inspector.nextDeadline()).toBeLessThanOrEqual(t.now + 1000);
    t.wait(1000);
    expect(t.of(syn)).not.toBe("held");
    expect(t.inspector.nextDeadline()).toBe(Infinity);
  });

  test("an answer for a name that was not asked is not learned", () => {
    const t = new Transcript();
    t.talk({ port: 25 }).syn();
    t.inspector.resolved(1, [{ name: "evil.github.com", aliases: [], addresses: [address(WEB)], ttl: 60 }], t.now);
    expect(t.names.lookup(1, address(WEB), t.now).names).toEqual([]);
  });

  test("two flows share one question", () => {
    const t = new Transcript();
    const first = t.talk({ port: 25 }).syn();
    const second = t.talk({ port: 25, sourcePort: 50001 }).syn();
    expect(t.resolves.length).toBe(1);
    t.inspector.resolved(1, [], t.now);
    expect([t.of(first), t.of(second)]).not.toContain("held");
  });
});

describe("TCP in mid-flow that nobody decided", () => {
  test("is reset (EVASION 13)", () => {
    const t = new Transcript();
    expect(t.of(t.talk().client("GET"))).toBe("reject");
    expect(t.outcome).toBe("Deny - NoRememberedDecision");
    expect(t.of(t.talk().server("x"))).toBe("reject");
  });

  test("is decided on its address when the agent adopts", () => {
    const t = new Transcript({ adopting: true });
    expect(t.of(t.talk({ to: SSH, port: 22 }).client("x"))).toBe("allow");
    expect(t.of(t.talk({ to: OTHER, port: 22 }).client("x"))).toBe("reject");
    expect(t.of(t.talk({ to: OTHER, port: 22, sourcePort: 1 }).server("x"))).toBe("inbound");
  });

  test("passes for a workload that no policy selects", () => {
    const t = new Transcript();
    expect(t.of(t.talk({ from: PLAIN }).client("x"))).toBe("allow");
  });
});

describe("a workload that no enforcing policy selects", () => {
  test("is never held", () => {
    const t = new Transcript();
    expect(t.of(t.talk({ from: PLAIN }).syn())).toBe("allow");
    expect(t.outcome).toBe("Allow - NotIsolated");
  });

  test("under Audit is watched: everything passes, the would-be outcome is recorded", () => {
    const t = new Transcript();
    const talk = t.talk({ from: WATCHED, port: 80 });
    expect(t.of(talk.syn())).toBe("allow");
    expect(t.last.audit).toMatchObject({ action: "Deny" });
  });
});

describe("an unknown source", () => {
  test("inside the pod ranges waits for the next Program", () => {
    const program = compileScene({ ...scene(), workloads: [] });
    const t = new Transcript({ program });
    const syn = t.talk({ to: SSH, port: 22, from: APP }).syn();
    const inRanges = t.of(syn) === "held";
    expect(inRanges).toBe(true);
    t.inspector.adopt(compileScene(scene()), t.now);
    expect(t.of(syn)).toBe("allow");
  });

  test("is refused in the end", () => {
    const t = new Transcript({ program: compileScene({ ...scene(), workloads: [] }) });
    const syn = t.talk({ to: SSH, port: 22 }).syn();
    t.wait(60_000);
    expect(t.of(syn)).toBe("reject");
    expect(t.outcome).toBe("Deny - UnknownWorkload");
  });

  test("outside them is refused at once", () => {
    const t = new Transcript();
    expect(t.of(t.talk({ from: "198.51.100.7" }).syn())).toBe("reject");
  });
});

test("malformed packets of an isolated workload are dropped, of others passed", () => {
  const t = new Transcript();
  const make = (from: string) =>
    buildTcp({
      source: address(from),
      destination: address(WEB),
      sourcePort: 1,
      destinationPort: 2,
      seq: 1,
      ack: 0,
      flags: 2,
      window: 1,
    });
  const app = make(APP);
  app[32] = 0x10; // data offset below 5
  expect(t.of(t.send(app))).toBe("drop");
  const plain = make(PLAIN);
  plain[32] = 0x10;
  expect(t.of(t.send(plain))).toBe("pass");
  expect(t.of(t.send(new Uint8Array(5)))).toBe("drop");
});

test("a fragment that nobody put together is dropped (EVASION 16)", () => {
  const t = new Transcript();
  const bytes = buildTcp({
    source: address(APP),
    destination: address(SSH),
    sourcePort: 1,
    destinationPort: 22,
    seq: 1,
    ack: 0,
    flags: 2,
    window: 1,
  });
  bytes[6] = 0x20;
  expect(t.of(t.send(bytes))).toBe("drop");
});
