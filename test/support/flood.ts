/** `node flood.ts SECONDS ADDRESS...`: says secrets to TCP 443, TCP 8444 and UDP 9999 of each address, over and over. Prints how often TCP connected. */
import { createSocket } from "node:dgram";
import { connect } from "node:net";

const [seconds = "1", ...addresses] = process.argv.slice(2);
const end = performance.now() + Number(seconds) * 1000;
let connected = 0;

async function tcp(host: string, port: number): Promise<void> {
  while (performance.now() < end) {
    await new Promise<void>((resolve) => {
      const socket = connect({ host, port });
      const done = (): void => {
        clearTimeout(timer);
        socket.destroy();
        resolve();
      };
      const timer = setTimeout(done, 150);
      socket.on("connect", () => {
        connected++;
        socket.write("secret");
      });
      socket.on("error", () => setTimeout(done, 5));
      socket.on("data", done);
    });
  }
}

async function udp(host: string): Promise<void> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  socket.on("error", () => undefined);
  while (performance.now() < end) {
    socket.send("secret", 9999, host, () => undefined);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  socket.close();
}

await Promise.all(addresses.flatMap((host) => [tcp(host, 443), tcp(host, 8444), udp(host)]));
console.log(JSON.stringify({ connected }));
