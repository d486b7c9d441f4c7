import { describe, expect, test } from "vitest";
import { TCP_FLAG } from "../../../src/packet/tcp.ts";
import { dnsMessage } from "../../support/dns-message.ts";
import { APP, GUARDED, OTHER, RESOLVER, SSH, Transcript, WEB } from "./transcript.ts";

const ROUND = 20_000;

/** The round in which silence begins to count, and the one in which it has lasted. */
function twoRounds(t: Transcript): void {
  t.wait(ROUND);
  t.wait(ROUND);
}

function scene(options: ConstructorParameters<typeof Transcript>[0] = {}): Transcript {
  const t = new Transcript(options);
  t.bind("api.github.com", WEB);
  t.bind("api.example.com", OTHER);
  return t;
}

const ports = (t: Transcript) => t.doubted.map(({ clientPort }) => clientPort);

describe("a connection that is followed and silent", () => {
  test("is asked about after a round without a word, once each round, and goes when conntrack does not know it", () => {
    const t = scene();
    t.talk({ sourcePort: 50_001 }).syn();
    t.wait(100);
    t.wait(ROUND - 1_000);
    expect(t.doubted).toEqual([]);
    t.wait(1_000);
    expect(ports(t)).toEqual([50_001]);
    t.wait(ROUND - 1_000);
    expect(ports(t)).toEqual([50_001]);
    t.wait(1_000);
    expect(ports(t)).toEqual([50_001, 50_001]);
    expect(t.inspector.flows).toBe(1);
    t.inspector.flowEnded(t.doubted[0]!, true);
    expect(t.inspector.flows).toBe(0);
    twoRounds(t);
    expect(t.doubted).toHaveLength(2);
  });

  test("is not while it speaks, from either end", () => {
    const t = scene();
    const talk = t.talk();
    talk.open();
    for (let i = 0; i < 6; i++) {
      t.wait(ROUND / 2);
      talk.client("");
      t.wait(ROUND / 2);
      talk.server("", { flags: 16 });
    }
    expect(t.doubted).toEqual([]);
  });

  test("stays when it was heard of after it was asked about: its entry may be confirmed by now", () => {
    const t = scene();
    const talk = t.talk();
    talk.syn();
    t.wait(100);
    t.wait(ROUND);
    expect(t.doubted).toHaveLength(1);
    talk.syn();
    t.inspector.flowEnded(t.doubted[0]!, true);
    expect(t.inspector.flows).toBe(1);
  });

  test("gives its pod the room back that it took: one whose SYNs somebody else drops is not shut out for ever", () => {
    const t = scene({ limits: { lookingFlows: 2 } });
    const open = (sourcePort: number) => t.of(t.talk({ sourcePort }).syn());
    expect([open(50_001), open(50_002), open(50_003)]).toEqual(["look", "look", "reject"]);
    t.wait(100);
    t.wait(10 * 60_000);
    expect(open(50_004)).toBe("reject");
    for (const flow of t.doubted) t.inspector.flowEnded(flow, true);
    expect([open(50_005), open(50_006), open(50_007)]).toEqual(["look", "look", "reject"]);
  });

  test("also one whose end was told too early to be believed", () => {
    const t = scene();
    const talk = t.talk();
    talk.open();
    t.wait(1_000);
    const ends = { client: talk.source, clientPort: talk.sourcePort, server: talk.destination, serverPort: talk.port };
    t.inspector.flowEnded({ protocol: 6, ...ends });
    expect(t.inspector.flows).toBe(1);
    twoRounds(t);
    for (const flow of t.doubted) t.inspector.flowEnded(flow, true);
    expect(t.inspector.flows).toBe(0);
  });

  test("and one of HTTP between two requests", () => {
    const t = scene();
    const talk = t.talk({ to: OTHER, port: 80 });
    talk.open();
    talk.client("GET /ok HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    talk.acknowledge();
    twoRounds(t);
    t.wait(100);
    expect(t.doubted).toHaveLength(1);
  });

  test("not one whose SYN is held while its name is looked up: it has no entry yet", () => {
    const t = new Transcript();
    const held = t.talk({ to: OTHER, port: 25 }).syn();
    // A round begins while it waits, and it is over before the next one.
    t.wait(100);
    expect(t.of(held)).toBe("held");
    t.wait(900);
    expect(t.of(held)).not.toBe("held");
    t.wait(ROUND);
    expect(t.doubted).toEqual([]);
  });

  test("of thousands no more in a turn than cost little, and all of them in their time", () => {
    const t = scene({ limits: { lookingFlows: 5_000 } });
    for (let i = 0; i < 3_000; i++) t.talk({ sourcePort: 10_000 + i }).syn();
    t.wait(100);
    for (let i = 0; i < 100; i++) t.wait(100);
    expect(t.doubted).toEqual([]);
    t.wait(ROUND);
    expect(t.doubted.length).toBeGreaterThan(0);
    expect(t.doubted.length).toBeLessThan(200);
    for (let i = 0; i < 100; i++) t.wait(100);
    expect(new Set(ports(t)).size).toBe(3_000);
    expect(t.doubted).toHaveLength(3_000);
  });

  describe("of DNS, outside conntrack", () => {
    const dns = (t: Transcript, sourcePort: number) => {
      const talk = t.talk({ to: RESOLVER, port: 53, sourcePort });
      // Nothing is remembered of a packet that is not tracked.
      t.of(talk.syn());
      talk.synAck();
      talk.client("");
      return talk;
    };
    const question = (name: string) => {
      const message = dnsMessage({ questions: [{ name, type: 1 }] });
      return Uint8Array.of(0, message.length, ...message);
    };
    /** What nobody knows is told so. */
    const unknown = (t: Transcript) => {
      for (const flow of t.doubted.splice(0)) t.inspector.flowEnded(flow, true);
    };

    test("stays for as long as it is silent, is asked about once, and is judged when it goes on", () => {
      const t = scene();
      const talk = dns(t, 50_001);
      twoRounds(t);
      t.wait(100);
      expect(ports(t)).toEqual([50_001]);
      unknown(t);
      for (let i = 0; i < 100; i++) t.wait(ROUND);
      expect([t.doubted, t.inspector.flows]).toEqual([[], 1]);
      expect(t.of(talk.client(question("api.github.com")))).toBe("confirm");
      // Silence after that is no question any more, nor is it an end that somebody else's entry had.
      for (let i = 0; i < 3; i++) t.wait(ROUND);
      const { source, sourcePort, destination, port } = talk;
      t.inspector.flowEnded({
        protocol: 6,
        client: source,
        clientPort: sourcePort,
        server: destination,
        serverPort: port,
      });
      expect([t.doubted, t.inspector.flows]).toEqual([[], 1]);
      talk.client(question("evil.example"));
      expect(t.inspector.flows).toBe(0);
    });

    test("not one that was never answered, nor one that either end has closed", () => {
      const t = scene();
      t.talk({ to: RESOLVER, port: 53, sourcePort: 50_001 }).syn();
      dns(t, 50_002).client("", { flags: TCP_FLAG.ack | TCP_FLAG.fin });
      dns(t, 50_003).server("", { flags: TCP_FLAG.ack | TCP_FLAG.fin });
      dns(t, 50_004);
      twoRounds(t);
      t.wait(100);
      unknown(t);
      expect(t.inspector.following().map(({ clientPort }) => clientPort)).toEqual([50_004]);
    });

    test("of many of a pod those that fell silent last, and none that speaks; another pod has room of its own", () => {
      const t = scene();
      const talks = new Map(Array.from({ length: 64 }, (_, i) => [50_001 + i, dns(t, 50_001 + i)]));
      twoRounds(t);
      t.wait(100);
      const [speaks = 0, second = 0, third = 0, ...rest] = ports(t);
      unknown(t);
      expect(t.inspector.flows).toBe(64);
      talks.get(speaks)!.client("");
      for (const port of [50_101, 50_102]) dns(t, port);
      const other = t.talk({ from: GUARDED, to: RESOLVER, port: 53, sourcePort: 50_201 });
      other.syn();
      other.synAck();
      twoRounds(t);
      t.wait(100);
      unknown(t);
      const left = new Set(t.inspector.following().map(({ clientPort }) => clientPort));
      expect([second, third].filter((port) => left.has(port))).toEqual([]);
      expect([...left].sort()).toEqual([speaks, ...rest, 50_101, 50_102, 50_201].sort());
    });
  });

  test("what is decided by its address is in no table, and not asked about", () => {
    const t = scene();
    t.talk({ from: APP, to: SSH, port: 22 }).syn();
    twoRounds(t);
    twoRounds(t);
    expect(t.doubted).toEqual([]);
  });
});
