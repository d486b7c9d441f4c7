/**
 * `node spoof.ts DESTINATION COUNT SOURCE...`: sends UDP to port 9999 from each source in turn, written whole into raw
 * packets, and TCP SYNs to port 22. Prints how many packets left.
 */
import { RawSender } from "../../src/kernel/raw-socket.ts";
import { parseAddress } from "../../src/net/address.ts";
import { buildTcp, buildUdp } from "../../src/packet/build.ts";

const [to = "", count = "1", ...sources] = process.argv.slice(2);
const destination = parseAddress(to);
if (destination === null) throw new Error(`\`${to}\` is no address`);
const sender = new RawSender(0);
for (let round = 0; round < Number(count); round++) {
  for (const text of sources) {
    const source = parseAddress(text);
    if (source === null) throw new Error(`\`${text}\` is no address`);
    const ends = { source, destination, sourcePort: 20_000 + round };
    sender.send(buildUdp({ ...ends, destinationPort: 9999, payload: Buffer.from("secret") }));
    sender.send(buildTcp({ ...ends, destinationPort: 22, seq: 1, ack: 0, flags: 2, window: 1024 }));
  }
}
console.log(JSON.stringify({ sent: sender.sent, failed: sender.failed }));
sender.close();
