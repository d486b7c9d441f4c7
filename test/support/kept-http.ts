import { Agent, get } from "node:http";

/** Asks again and again on one connection, each 100 ms, until SIGTERM; prints how many answers came and how many connections it took. */
const [address, host] = process.argv.slice(2) as [string, string];
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const connections = new Set<unknown>();
let [answers, failures, slowest] = [0, 0, 0];

function ask(): void {
  const begun = performance.now();
  const request = get({ host: address, port: 80, path: "/", headers: { host }, agent }, (response) => {
    response.resume();
    response.once("end", () => {
      if (response.statusCode === 200) answers++;
      else failures++;
      slowest = Math.max(slowest, performance.now() - begun);
    });
  });
  request.once("socket", (socket) => connections.add(socket));
  request.once("error", () => failures++);
}

const clock = setInterval(ask, 100);
process.once("SIGTERM", () => {
  clearInterval(clock);
  console.log(JSON.stringify({ answers, failures, connections: connections.size, slowest: Math.round(slowest) }));
  process.exit(0);
});
