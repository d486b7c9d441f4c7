import { type Address, isIPv4, parseAddress } from "../../../src/net/address.ts";
import { buildTcp } from "../../../src/packet/build.ts";
import type { Packet } from "../../../src/packet/ip.ts";
import { newTcpSegment, parseTcp, seqAdd, seqDiff, TCP_FLAG } from "../../../src/packet/tcp.ts";
import { withBetween } from "./between.ts";
import { fragments } from "./fragments.ts";
import type { Opening, Outcome, Script, Segment } from "./script.ts";
import { pause, type Wire } from "./wire.ts";

const MSS = [2, 4, 1440 >> 8, 1440 & 0xff];
const SACK_PERMITTED = [4, 2];
const NO_SCALE = [1, 3, 3, 0];
const TIMESTAMPS = 8;

/** A TCP endpoint that keeps no rule of its own: it sends what the script says, and acknowledges what comes. */
export class Connection {
  readonly #wire: Wire;
  readonly #script: Script;
  readonly #ends: { source: Address; destination: Address; sourcePort: number; destinationPort: number };
  readonly #segment = newTcpSegment();
  readonly #ahead = new Map<number, Uint8Array>();
  readonly #icmp: string[] = [];
  #isn = 0;
  #next = 0;
  #highest = 0;
  #window = 0xffff;
  #stamp = 0;
  #peerStamp = 0;
  #stamps = false;
  #received: Uint8Array[] = [];
  opened = false;
  reset = false;
  ended = false;
  count = 0;

  constructor(wire: Wire, script: Script) {
    this.#wire = wire;
    this.#script = script;
    this.#ends = {
      source: parseAddress(script.source)!,
      destination: parseAddress(script.address)!,
      sourcePort: script.from,
      destinationPort: script.port,
    };
  }

  async open(opening: Opening): Promise<void> {
    this.#isn = opening.isn ?? (Math.random() * 0xffffffff) >>> 0;
    this.#window = opening.window ?? 0xffff;
    const plain = this.#script.plain === true && opening.options === undefined;
    this.#stamps = opening.timestamps ?? plain;
    this.#stamp = 1_000_000;
    this.opened = false;
    const more = [...(this.#stamps ? this.#time(0) : []), ...Buffer.from(opening.options ?? "", "base64")];
    const options = plain ? [...MSS, ...SACK_PERMITTED, ...this.#time(0).slice(2), ...NO_SCALE] : [...MSS, ...more];
    const syn = buildTcp({
      ...this.#ends,
      seq: this.#isn,
      ack: 0,
      flags: TCP_FLAG.syn | (opening.flags ?? 0),
      window: this.#window,
      options: Uint8Array.from(options),
      payload: Buffer.from(opening.data ?? "", "base64"),
      ...(opening.ttl === undefined ? {} : { ttl: opening.ttl }),
    });
    for (let attempt = 0; attempt < 3 && !this.opened && !this.reset; attempt++) {
      this.#wire.send(syn);
      if (opening.blind) return;
      for (let waited = 0; waited < 600 && !this.opened && !this.reset; waited += 5) await pause(5);
    }
    if (this.opened) this.send({ at: 0, flags: TCP_FLAG.ack });
  }

  send(segment: Segment): void {
    const data = Buffer.from(segment.data ?? "", "base64");
    this.#highest = Math.max(this.#highest, segment.at + data.length);
    const options = Buffer.from(segment.options ?? "", "base64");
    const packet = buildTcp({
      ...this.#ends,
      seq: seqAdd(this.#isn, 1 + segment.at),
      ack: seqAdd(this.#next, segment.ackBy ?? 0),
      flags: segment.flags ?? TCP_FLAG.psh | TCP_FLAG.ack,
      window: segment.window ?? this.#window,
      options: Uint8Array.from([...(this.#stamps ? this.#time(segment.timeBy ?? 0) : []), ...options]),
      payload: data,
      ...(segment.ttl === undefined ? {} : { ttl: segment.ttl }),
    });
    const tcp = isIPv4(this.#ends.source) ? 20 : 40;
    if (segment.urgent !== undefined) {
      // The checksum is a sum: what is added in one place is taken away in another.
      packet[tcp + 18] = segment.urgent >> 8;
      packet[tcp + 19] = segment.urgent & 0xff;
      addToChecksum(packet, tcp + 16, -segment.urgent);
    }
    if (segment.badChecksum) packet[tcp + 16]! ^= 0x55;
    for (const one of fragments(withBetween(packet, segment), segment)) this.#wire.send(one);
  }

  /** A packet for this connection. */
  take(packet: Packet): void {
    const segment = this.#segment;
    if (!parseTcp(packet, segment)) return;
    if ((segment.flags & TCP_FLAG.rst) !== 0) {
      this.reset = true;
      return;
    }
    this.#readStamp(packet, segment.optionsStart, segment.payloadStart);
    if ((segment.flags & TCP_FLAG.syn) !== 0) {
      this.#next = seqAdd(segment.seq, 1);
      if (segment.ack === seqAdd(this.#isn, 1)) this.opened = true;
      return;
    }
    if (segment.payloadEnd > segment.payloadStart) {
      this.#ahead.set(segment.seq, packet.bytes.slice(segment.payloadStart, segment.payloadEnd));
    }
    this.#join();
    const finAt = seqAdd(segment.seq, segment.payloadEnd - segment.payloadStart);
    if ((segment.flags & TCP_FLAG.fin) !== 0 && finAt === this.#next) {
      this.ended = true;
      this.#next = seqAdd(this.#next, 1);
    }
    if (segment.payloadEnd > segment.payloadStart || this.ended) this.send({ at: this.#highest, flags: TCP_FLAG.ack });
  }

  complaint(type: number, code: number): void {
    this.#icmp.push(`${type}/${code}`);
  }

  outcome(): Outcome {
    const received = Buffer.concat(this.#received).toString("base64");
    const { opened, reset, ended } = this;
    return { from: this.#script.from, opened, received, reset, ended, icmp: this.#icmp };
  }

  #join(): void {
    for (let found = true; found; ) {
      found = false;
      for (const [seq, bytes] of this.#ahead) {
        const known = seqDiff(this.#next, seq);
        if (known < 0) continue;
        this.#ahead.delete(seq);
        if (known >= bytes.length) continue;
        this.#received.push(bytes.subarray(known));
        this.count += bytes.length - known;
        this.#next = seqAdd(seq, bytes.length);
        found = true;
      }
    }
  }

  #time(by: number): number[] {
    const stamp = (this.#stamp + by) >>> 0;
    const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
    return [1, 1, TIMESTAMPS, 10, ...word(stamp), ...word(this.#peerStamp)];
  }

  #readStamp(packet: Packet, from: number, to: number): void {
    const buf = packet.bytes;
    for (let at = from; at < to && buf[at] !== 0; at += buf[at] === 1 ? 1 : Math.max(2, buf[at + 1] ?? 2)) {
      if (buf[at] === TIMESTAMPS)
        this.#peerStamp = ((buf[at + 2]! << 24) | (buf[at + 3]! << 16) | (buf[at + 4]! << 8) | buf[at + 5]!) >>> 0;
    }
  }
}

function addToChecksum(packet: Uint8Array, at: number, value: number): void {
  let sum = ((packet[at]! << 8) | packet[at + 1]!) + value;
  if (sum < 0) sum += 0xffff;
  packet[at] = (sum >> 8) & 0xff;
  packet[at + 1] = sum & 0xff;
}
