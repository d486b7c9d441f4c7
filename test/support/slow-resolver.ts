/** `node slow-resolver.ts MILLISECONDS ADDRESS UPSTREAM`: passes questions to UPSTREAM and its answers back, so much later. */
import { createSocket } from "node:dgram";

const [delay = "0", address = "", upstream = ""] = process.argv.slice(2);
const server = createSocket("udp4");
server.on("message", (question, from) => {
  const asking = createSocket("udp4");
  asking.on("error", () => asking.close());
  asking.on("message", (answer) => {
    asking.close();
    setTimeout(() => server.send(answer, from.port, from.address, () => undefined), Number(delay));
  });
  asking.send(question, 53, upstream);
});
server.bind(53, address, () => console.log("ready"));
