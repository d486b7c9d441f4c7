/** `node responder.ts ADDRESS`: answers n<number>.NAME with an A record of its own for each number (198.18.0.0/15), TTL 60. */
import { createSocket } from "node:dgram";

const HEADER = 12;
const server = createSocket("udp4");
server.on("message", (question, from) => {
  const length = question[HEADER] ?? 0;
  const number = Number(question.toString("latin1", HEADER + 2, HEADER + 1 + length)) & 0x1ffff;
  const head = Buffer.from(question.subarray(0, HEADER));
  head.writeUInt16BE(0x8180, 2);
  head.writeUInt16BE(1, 6);
  const address = [198, 18 + (number >> 16), (number >> 8) & 255, number & 255];
  const answer = Buffer.from([0xc0, HEADER, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address]);
  const message = Buffer.concat([head, question.subarray(HEADER), answer]);
  server.send(message, from.port, from.address, () => undefined);
});
server.bind(53, process.argv[2], () => console.log("ready"));
