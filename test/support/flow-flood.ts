/**
 * `node flow-flood.ts SECONDS SOURCE ADDRESS FIRST COUNT`: datagrams to COUNT ports of ADDRESS from FIRST on, each of a flow of its own,
 * as fast as one thread gets them out. IPv4. Prints how many left.
 */
import { RawSender } from "../../src/kernel/raw-socket.ts";
import { parseAddress } from "../../src/net/address.ts";
import { buildUdp } from "../../src/packet/build.ts";

const UDP_HEADER = 20;
const FIRST_SOURCE_PORT = 1_024;
const SOURCE_PORTS = 60_000;

const [seconds = "1", from = "", to = "", first = "9000", count = "1"] = process.argv.slice(2);
const source = parseAddress(from);
const destination = parseAddress(to);
if (source === null || destination === null) throw new Error(`\`${from}\` or \`${to}\` is no address`);
const packet = buildUdp({ source, destination, sourcePort: 1, destinationPort: 1, payload: Buffer.from("hello") });
const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
// No checksum (RFC 768): the ports change with every packet.
view.setUint16(UDP_HEADER + 6, 0);
const sender = new RawSender(0);
const end = performance.now() + Number(seconds) * 1000;
for (let turn = 0; performance.now() < end; turn++) {
  view.setUint16(UDP_HEADER, FIRST_SOURCE_PORT + (Math.floor(turn / Number(count)) % SOURCE_PORTS));
  view.setUint16(UDP_HEADER + 2, Number(first) + (turn % Number(count)));
  sender.send(packet);
}
console.log(JSON.stringify({ sent: sender.sent, failed: sender.failed }));
sender.close();
