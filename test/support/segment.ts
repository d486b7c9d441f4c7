/** `node segment.ts SOURCE PORT DESTINATION PORT TEXT`: sends one TCP segment with text, as of a connection that is open. */
import { RawSender } from "../../src/kernel/raw-socket.ts";
import { parseAddress } from "../../src/net/address.ts";
import { buildTcp } from "../../src/packet/build.ts";

const [from = "", sourcePort = "0", to = "", destinationPort = "0", text = ""] = process.argv.slice(2);
const source = parseAddress(from);
const destination = parseAddress(to);
if (source === null || destination === null) throw new Error("usage: segment.ts SOURCE PORT DESTINATION PORT TEXT");
const sender = new RawSender(0);
for (const seq of [1, 0x4000_0000, 0x8000_0000, 0xc000_0000]) {
  const ends = { source, destination, sourcePort: Number(sourcePort), destinationPort: Number(destinationPort) };
  sender.send(buildTcp({ ...ends, seq, ack: 1, flags: 0x18, window: 1024, payload: Buffer.from(text) }));
}
sender.close();
