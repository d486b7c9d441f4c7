/**
 * `node packet-flood.ts SECONDS SOURCES WHAT...`: packets as fast as one thread gets them out, none waits for an answer.
 * SOURCES: addresses with commas between. WHAT: `udp:ADDRESS:PORT` datagrams that each open a flow, `syn:ADDRESS:PORT` TCP SYNs,
 * `dns:RESOLVER:53` questions for names below github.com that nobody asked for before, `answer:ADDRESS:FIRST` answers from port 53 to ANSWERED
 * ports of ADDRESS, `reply:ADDRESS:FIRST` datagrams from port 9000 to as many. IPv4. Prints how many left.
 */
import { RawSender } from "../../src/kernel/raw-socket.ts";
import { type Address, parseAddress } from "../../src/net/address.ts";
import { buildTcp, buildUdp } from "../../src/packet/build.ts";

/** Different packets of one kind; then they come again. */
const POOL = 4_096;
const SYN = 2;
/** Ports that are flooded with answers or replies. */
const ANSWERED = 64;

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new Error(`\`${text}\` is no address`);
  return address;
}

/** An A question (RFC 1035 §4.1); with `flags` 0x81, 0x80 an answer that says nothing. */
function question(turn: number, flags = 1, more = 0): Buffer {
  const labels = [`f${turn.toString(36)}`, "github", "com"].flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Buffer.from([turn >> 8, turn & 255, flags, more, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}

function packetsOf(what: string, sources: readonly Address[]): Uint8Array[] {
  const [kind, to = "", port] = what.split(":");
  const destination = addressOf(to);
  return Array.from({ length: POOL }, (_, turn) => {
    const source = sources[turn % sources.length] as Address;
    const to = { source, destination, destinationPort: Number(port) + (turn % ANSWERED) };
    if (kind === "answer") return buildUdp({ ...to, sourcePort: 53, payload: question(turn, 0x81, 0x80) });
    if (kind === "reply") return buildUdp({ ...to, sourcePort: 9000, payload: Buffer.from("hello") });
    const ends = { source, destination, sourcePort: 20_000 + turn, destinationPort: Number(port) };
    if (kind === "syn") return buildTcp({ ...ends, seq: turn * 7919, ack: 0, flags: SYN, window: 64_240 });
    return buildUdp({ ...ends, payload: kind === "dns" ? question(turn) : Buffer.from("secret") });
  });
}

const [seconds = "1", from = "", ...whats] = process.argv.slice(2);
const sources = from.split(",").map(addressOf);
const pools = whats.map((what) => packetsOf(what, sources));
const sender = new RawSender(0);
const end = performance.now() + Number(seconds) * 1000;
for (let turn = 0; performance.now() < end; turn = (turn + 1) % POOL) {
  for (const pool of pools) sender.send(pool[turn] as Uint8Array);
}
console.log(JSON.stringify({ sent: sender.sent, failed: sender.failed }));
sender.close();
