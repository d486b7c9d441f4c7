/** `node names.ts SERVER COUNT`: asks SERVER for n0.github.com, n1 ... and begins again, a few at a time, until SIGTERM; then prints how many were answered. */
import { createSocket } from "node:dgram";

const [server = "", count = "10000"] = process.argv.slice(2);
const AT_A_TIME = 4;
const PATIENCE_MS = 1_000;
const PAUSE_MS = 4;
let next = 0;
let answered = 0;

function question(number: number): Buffer {
  const labels = [`n${number % Number(count)}`, "github", "com"].map((label) =>
    Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]),
  );
  const head = Buffer.from([number >> 8, number, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0].map((byte) => byte & 255));
  return Buffer.concat([head, ...labels, Buffer.from([0, 0, 1, 0, 1])]);
}

function ask(): void {
  const socket = createSocket("udp4");
  const over = (): void => {
    clearTimeout(timer);
    socket.close();
    setTimeout(ask, PAUSE_MS);
  };
  const timer = setTimeout(over, PATIENCE_MS);
  socket.on("error", over);
  socket.on("message", () => {
    answered++;
    over();
  });
  socket.send(question(next++), 53, server);
}

for (let i = 0; i < AT_A_TIME; i++) ask();
process.once("SIGTERM", () => process.stdout.write(`${JSON.stringify({ answered })}\n`, () => process.exit(0)));
