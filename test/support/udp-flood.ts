/** `node udp-flood.ts SECONDS ADDRESS...`: datagrams to UDP 9000, each of a flow of its own, as fast as they go. Prints how many. */
import { createSocket } from "node:dgram";

const [seconds = "1", ...addresses] = process.argv.slice(2);
const end = performance.now() + Number(seconds) * 1000;
/** Of one socket: the ports it sends to make the flows differ. */
const PORTS = 100;
let sent = 0;

while (performance.now() < end) {
  const sockets = Array.from({ length: 64 }, () => createSocket("udp4").on("error", () => undefined));
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve) => {
          let left = PORTS * addresses.length;
          const done = (): void => {
            if (--left === 0) resolve();
          };
          for (const address of addresses) {
            for (let port = 0; port < PORTS; port++) {
              sent++;
              socket.send("secret", 9000 + port, address, done);
            }
          }
        }),
    ),
  );
  for (const socket of sockets) socket.close();
}
console.log(JSON.stringify({ sent }));
