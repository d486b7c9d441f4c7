/**
 * `node fill-conntrack.ts`: fills the connection tracking of this network namespace to its limit with flows that are not
 * given up for others (assured), from 198.18.0.0/16 to 198.19.0.1. Prints how many it holds then.
 */
import { readFileSync } from "node:fs";
import { type Tuple, writeTuple } from "../../src/kernel/conntrack-entry.ts";
import { NetlinkSocket } from "../../src/kernel/netlink.ts";
import { MessageWriter, NLM_F_REQUEST, netfilterType } from "../../src/kernel/netlink-message.ts";
import { parseAddress } from "../../src/net/address.ts";

const SUBSYSTEM = 1;
const NEW = 0;
const CREATE = 0x400;
const CTA_STATUS = 3;
const CTA_TIMEOUT = 7;
const SEEN_REPLY_ASSURED_CONFIRMED = 0x2 | 0x4 | 0x8;
const SECONDS = 90;
const A_TIME = 200;
const UDP = 17;

const read = (name: string) => Number(readFileSync(`/proc/sys/net/netfilter/nf_conntrack_${name}`, "latin1"));
const destination = parseAddress("198.19.0.1")!;
const socket = new NetlinkSocket();
const limit = read("max");
let port = 0;

function batch(): Uint8Array {
  const writer = new MessageWriter(64 * 1024);
  for (let i = 0; i < A_TIME; i++, port++) {
    const source = parseAddress(`198.18.${(port >> 16) & 255}.${1 + ((port >> 24) & 63)}`)!;
    const ports = { protocol: UDP, sourcePort: port & 0xffff, destinationPort: 9, icmpId: 0, icmpType: 0, icmpCode: 0 };
    const original: Tuple = { ...ports, source, destination };
    const reply: Tuple = {
      ...ports,
      source: destination,
      destination: source,
      sourcePort: 9,
      destinationPort: port & 0xffff,
    };
    writer.begin(netfilterType(SUBSYSTEM, NEW), NLM_F_REQUEST | CREATE, 0, 2, 0);
    writeTuple(writer, "original", original);
    writeTuple(writer, "reply", reply);
    writer.u32(CTA_STATUS, SEEN_REPLY_ASSURED_CONFIRMED).u32(CTA_TIMEOUT, SECONDS).end();
  }
  return writer.message();
}

for (let round = 0; round < (limit / A_TIME) * 2 && read("count") < limit; round++) {
  const bytes = batch();
  socket.send(bytes, bytes.length);
  // Answers are errors only: the table is full.
  while (socket.receive(() => true));
}
console.log(JSON.stringify({ entries: read("count"), limit }));
process.exit(0);
