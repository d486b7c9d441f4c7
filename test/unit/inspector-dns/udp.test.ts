import { describe, expect, test } from "vitest";
import type { FlowEvent } from "../../../src/flow/event.ts";
import { DROP, UNASKED } from "../../../src/inspector/contract.ts";
import { DnsUdp } from "../../../src/inspector/dns/udp.ts";
import { ANSWER } from "../../../src/model/verdict.ts";
import { type Address, formatAddress } from "../../../src/net/address.ts";
import { buildUdp } from "../../../src/packet/build.ts";
import { parseDnsMessage } from "../../../src/packet/dns.ts";
import { destinationAddress, newPacket, parsePacket, sourceAddress } from "../../../src/packet/ip.ts";
import { newUdpDatagram, parseUdp, udpChecksumOk } from "../../../src/packet/udp.ts";
import { address } from "../../support/cases.ts";
import { a, dnsMessage, https, query } from "../../support/dns-message.ts";
import { APP, flowOf, OBSERVED, program, RESOLVER, Scene } from "./scene.ts";

const NAME = "api.github.com";
const WORD = new Map<number, string>([
  [DROP, "drop"],
  [UNASKED, "drop unasked"],
  ...Object.entries(ANSWER).map(([word, value]): [number, string] => [value, word]),
]);

/** Plays packets and writes down the commands. */
class Tape {
  readonly scene = new Scene();
  readonly lines: string[] = [];
  readonly events: FlowEvent[] = [];
  readonly packets: Uint8Array[] = [];
  readonly counters = { malformed: 0, dnsQuestions: 0, dnsDenied: 0, dnsUnasked: 0 };
  readonly #udp: DnsUdp;
  #id = 0;
  #flowId = 0;

  constructor() {
    this.#udp = new DnsUdp({
      guard: this.scene.guard,
      counters: this.counters,
      nextFlowId: () => ++this.#flowId,
      commands: {
        verdict: (id, answer, replacement) => {
          this.lines.push(`${id} ${WORD.get(answer)}${replacement === null ? "" : " replaced"}`);
          if (replacement !== null) this.packets.push(replacement);
        },
        inject: (packet, towards) => {
          this.lines.push(`inject to ${towards}`);
          this.packets.push(packet);
        },
        record: (event) => {
          this.lines.push(`record ${event.name} ${event.decision.action} ${event.decision.reason}`);
          this.events.push(event);
        },
      },
    });
  }

  asks(payload: Uint8Array, workloadId = APP, family: "four" | "six" = "four"): void {
    this.#play(payload, workloadId, false, ends(workloadId, family));
  }

  /** The answer comes from the resolver pod, behind the translation. */
  answers(payload: Uint8Array, workloadId = APP, family: "four" | "six" = "four", from = address("10.244.0.53")): void {
    const { client, server } = ends(workloadId, family);
    this.#play(payload, workloadId, true, { client, server: family === "four" ? from : server });
  }

  #play(payload: Uint8Array, workloadId: number, fromServer: boolean, { client, server }: Ends): void {
    const built = fromServer
      ? buildUdp({ source: server, sourcePort: 53, destination: client, destinationPort: 40000, payload })
      : buildUdp({ source: client, sourcePort: 40000, destination: server, destinationPort: 53, payload });
    // As in the lane: the packet lies in a larger buffer with other bytes around it.
    const bytes = new Uint8Array(built.length + 64).fill(0xee);
    bytes.set(built, 32);
    const packet = newPacket();
    expect(parsePacket(bytes, 32, built.length, packet)).toBe(true);
    const workload = { workloadId, cls: program.classOf(workloadId), program };
    const queued = { id: ++this.#id };
    if (fromServer) this.#udp.answer(queued, packet, workload, this.scene.now);
    else this.#udp.question(queued, packet, workload, this.scene.now);
  }
}

interface Ends {
  readonly client: Address;
  readonly server: Address;
}

function ends(workloadId: number, family: "four" | "six"): Ends {
  if (family === "four") return { client: flowOf(workloadId).client, server: RESOLVER };
  return { client: address(`fd00:244::${workloadId}`), server: address("fd00:96::a") };
}

/** `source:port > destination:port`, checksums verified, and the DNS message. */
function read(bytes: Uint8Array) {
  const packet = newPacket();
  const datagram = newUdpDatagram();
  expect(parsePacket(bytes, 0, bytes.length, packet) && parseUdp(packet, datagram) && udpChecksumOk(packet)).toBe(true);
  const message = parseDnsMessage(bytes, datagram.payloadStart, datagram.payloadEnd);
  if (message.kind !== "message") throw new Error("malformed");
  const way = `${formatAddress(sourceAddress(packet))}:${packet.sourcePort} > ${formatAddress(destinationAddress(packet))}:${packet.destinationPort}`;
  return { way, message };
}

describe("transcripts", () => {
  test("a permitted name: both directions stay questioned, the answer is learned", () => {
    const tape = new Tape();
    tape.asks(query(NAME));
    tape.answers(dnsMessage({ response: true, questions: [{ name: NAME, type: 1 }], answers: [a(NAME, "192.0.2.1")] }));
    expect(tape.lines).toEqual(["1 look", `record ${NAME} Allow RuleMatched`, "2 look"]);
    expect(tape.scene.bound("192.0.2.1").names).toEqual([NAME]);
    expect(tape.events[0]).toMatchObject({
      kind: "dns",
      flowId: 1,
      application: "DNS",
      facts: null,
      state: "none",
      path: null,
    });
  });

  test.each(["four", "six"] as const)("a denied name is answered from the address that was asked (%s)", (family) => {
    const tape = new Tape();
    tape.asks(query("denied.example", 1, { id: 99, edns: 1232 }), APP, family);
    expect(tape.lines).toEqual(["inject to client", "1 drop", "record denied.example Deny DefaultDeny"]);
    const { way, message } = read(tape.packets[0]!);
    const { client, server } = ends(APP, family);
    expect(way).toBe(`${formatAddress(server)}:53 > ${formatAddress(client)}:40000`);
    expect(message).toMatchObject({ id: 99, rcode: 3, response: true });
    expect(tape.counters).toMatchObject({ dnsQuestions: 1, dnsDenied: 1 });
  });

  test("the same question again: passes, one record", () => {
    const tape = new Tape();
    tape.asks(query(NAME));
    tape.asks(query(NAME));
    expect(tape.lines).toEqual(["1 look", `record ${NAME} Allow RuleMatched`, "2 look"]);
  });

  test("a name that a search list made is denied in silence", () => {
    const tape = new Tape();
    tape.asks(query(`${NAME}.cluster.local`));
    tape.asks(query(`${NAME}.corp.example`, 1, { id: 2 }));
    expect(tape.lines.slice(2)).toEqual(["inject to client", "2 drop"]);
    expect(tape.counters.dnsDenied).toBe(0);
  });

  test("a datagram that is no DNS is refused", () => {
    const tape = new Tape();
    tape.asks(Uint8Array.of(1, 2, 3));
    expect(tape.lines).toEqual(["1 reject", "record null Deny Malformed"]);
    expect(tape.counters.malformed).toBe(1);
  });

  test("a message that is hardly DNS gets FORMERR and does not leave", () => {
    const tape = new Tape();
    tape.asks(dnsMessage({}));
    expect(tape.lines).toEqual(["inject to client", "1 drop", "record null Deny Malformed"]);
    expect(read(tape.packets[0]!).message.rcode).toBe(1);
  });

  test("an answer that nobody asked for is dropped", () => {
    const tape = new Tape();
    tape.answers(
      dnsMessage({ response: true, questions: [{ name: NAME, type: 1 }], answers: [a(NAME, "192.0.2.66")] }),
    );
    expect(tape.lines).toEqual(["1 drop unasked"]);
    expect(tape.counters.dnsUnasked).toBe(1);
    expect(tape.scene.bound("192.0.2.66").names).toEqual([]);
  });

  test.each(["four", "six"] as const)("ECH keys: the answer goes on without them, checksums right (%s)", (family) => {
    const tape = new Tape();
    const ech: [number, Uint8Array] = [5, Uint8Array.from({ length: 40 }, () => 0x45)];
    const message = dnsMessage({
      response: true,
      questions: [{ name: NAME, type: 65 }],
      answers: [https(NAME, 1, "", [ech])],
    });
    tape.asks(query(NAME, 65), APP, family);
    tape.answers(message, APP, family);
    expect(tape.lines.at(-1)).toBe("2 look replaced");
    const replaced = read(tape.packets[0]!);
    expect(replaced.message.answers[0]!.service!.echStart).toBe(-1);
    expect(replaced.message.end - replaced.message.start).toBe(message.length);
  });

  test("an observed workload: everything passes", () => {
    const tape = new Tape();
    tape.asks(query("denied.example"), OBSERVED);
    tape.asks(Uint8Array.of(1), OBSERVED);
    tape.answers(Uint8Array.of(2), OBSERVED);
    expect(tape.lines).toEqual(["1 look", "record denied.example Allow NotIsolated", "2 look", "3 look"]);
  });

  test("a UDP length that lies is malformed", () => {
    const tape = new Tape();
    const built = buildUdp({
      source: flowOf(APP).client,
      sourcePort: 1,
      destination: RESOLVER,
      destinationPort: 53,
      payload: query(NAME),
    });
    built[25]! -= 4;
    const packet = newPacket();
    parsePacket(built, 0, built.length, packet);
    const lines: string[] = [];
    const udp = new DnsUdp({
      guard: tape.scene.guard,
      counters: tape.counters,
      nextFlowId: () => 1,
      commands: {
        verdict: (id, answer) => lines.push(`${id} ${WORD.get(answer)}`),
        inject: () => {},
        record: () => {},
      },
    });
    udp.question({ id: 1 }, packet, { workloadId: APP, cls: program.classOf(APP), program }, 0);
    udp.question({ id: 2 }, packet, { workloadId: OBSERVED, cls: program.classOf(OBSERVED), program }, 0);
    expect(lines).toEqual(["1 drop", "2 pass"]);
  });
});
