/**
 * What the servers outside really got: writes one JSON line for each IP packet that comes in or goes out, until it is ended.
 * It sits before their TCP, so it also sees what they discard.
 */
import { formatAddress } from "../../../src/net/address.ts";
import { destinationAddress, sourceAddress } from "../../../src/packet/ip.ts";
import { newTcpSegment, parseTcp } from "../../../src/packet/tcp.ts";
import { Wire } from "./wire.ts";

export interface Sighting {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  readonly fromPort: number;
  readonly toPort: number;
  readonly flags: number;
  readonly seq: number;
  /** Bytes between IP header and transport header. */
  readonly between: number;
  /** TCP options, without padding. */
  readonly options: number;
  /** Base64. */
  readonly data: string;
  /** Base64: everything before the data. */
  readonly head: string;
  /** Bytes of the whole packet. */
  readonly size: number;
}

const wire = new Wire();
const segment = newTcpSegment();

function sighting(bytes: Uint8Array): Sighting {
  const { packet } = wire;
  const tcp = packet.protocol === 6 && parseTcp(packet, segment);
  const dataStart = tcp ? segment.payloadStart : Math.min(packet.end, packet.transport + 8);
  return {
    from: formatAddress(sourceAddress(packet)),
    to: formatAddress(destinationAddress(packet)),
    protocol: packet.protocol,
    fromPort: packet.sourcePort,
    toPort: packet.destinationPort,
    flags: tcp ? segment.flags : 0,
    seq: tcp ? segment.seq : 0,
    between: packet.transport - (packet.version === 4 ? 20 : 40),
    options: tcp ? segment.payloadStart - segment.optionsStart : 0,
    data: Buffer.from(bytes.subarray(dataStart, packet.end)).toString("base64"),
    head: Buffer.from(bytes.subarray(0, dataStart)).toString("base64"),
    size: packet.end,
  };
}

process.stdout.write("{}\n");
setInterval(() => {
  let lines = "";
  wire.drain((bytes, readable) => {
    if (readable) lines += `${JSON.stringify(sighting(bytes))}\n`;
  });
  if (lines !== "") process.stdout.write(lines);
}, 1);
