/**
 * `node keep-warm.ts NAME ADDRESS PORT PATH`: connections to ADDRESS one after the other, each of which says NAME: by TLS, on port 80 by a request for PATH.
 * Until it is killed.
 */
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";

/** Shorter than the kernel lets SYNs go unasked, and far enough from each other that none counts as one of a crowd. */
const APART_MS = 40;
const [name = "", host = "", port = "443", path = "/"] = process.argv.slice(2);

setInterval(() => {
  const socket =
    port === "80"
      ? connectTcp({ host, port: 80 }, () =>
          socket.write(`GET ${path} HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`),
        )
      : connectTls({ host, port: Number(port), servername: name, rejectUnauthorized: false }, () => socket.destroy());
  socket.on("error", () => undefined).on("data", () => socket.destroy());
  setTimeout(() => socket.destroy(), 1_000);
}, APART_MS);
