import { once } from "node:events";
import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { inNetworkOnly, run } from "../../src/lab/process.ts";
import { appPolicy, sleep } from "../support/agent-lab.ts";
import { beside, expectAllKinds, failed } from "../support/beside.ts";
import { APP, FaultLab, PARTNER } from "../support/fault-lab.ts";

const PORT = 8088;
/** Only what is asked for tells whether it is allowed, so these flows stay undecided until it is. */
const RULES = appPolicy(`    - name: upload
      action: Allow
      to: [{ cidrs: [${PARTNER}/32], ports: [{ protocol: TCP, port: ${PORT} }], http: { paths: [{ prefix: /v1/ }] } }]
`).replace("name: app }", "name: upload }");

let fault: FaultLab;

beforeAll(async () => {
  fault = await FaultLab.up("slf");
  fault.world.write("upload.yaml", RULES);
});

afterEach(() => fault?.clear());

afterAll(() => fault?.down());

async function onNode(...argv: string[]): Promise<void> {
  const { status, stderr } = await run(inNetworkOnly(fault.world.lab.node(1).netns, argv), { timeoutMs: 5_000 });
  expect(`${status} ${stderr}`).toBe("0 ");
}

/** Resolves once the lane follows next to nothing: two rounds of silence, and some seconds. */
function nothingFollowed(): Promise<unknown> {
  const few = async () => ((await fault.metrics()).of("lane_flows") < 10 ? true : null);
  return fault.world.until("a lane that follows nothing more", few, 75_000);
}

describe("a pod that opens thousands of HTTP requests and never ends one", () => {
  const SERVER = `
const server = require("node:net").createServer((socket) => socket.on("error", () => undefined).resume());
server.listen({ host: "${PARTNER}", port: ${PORT}, backlog: 4096 }, () => console.log("listens"));
setTimeout(() => process.exit(0), 120_000);`;

  test("keeps its own share of the lane, and its neighbours lose nothing; nothing of it stays behind", async () => {
    const { world } = fault;
    // An entry whose ends have closed is kept for two minutes otherwise, and the lane follows its flow for as long.
    const states = ["time_wait", "fin_wait", "close_wait", "last_ack", "close"];
    await onNode("sysctl", "-qw", ...states.map((state) => `net.netfilter.nf_conntrack_tcp_timeout_${state}=6`));
    const argv = [process.execPath, "-e", SERVER];
    const server = world.lab.spawn("outside", argv, { stdio: ["ignore", "pipe", "inherit"] });
    await once(server.stdout!, "data");
    await fault.start();
    const flood = world.script(APP, "http-flood.ts", "6000", PARTNER, String(PORT), "/v1/upload");
    let opened = 0;
    const { attempts, after } = await beside(fault, async () => {
      const [said] = (await once(flood.stdout!, "data")) as [Buffer];
      opened = (JSON.parse(said.toString()) as { opened: number }).opened;
      await sleep(6_000);
    });
    expect(failed(attempts)).toEqual([]);
    expectAllKinds(attempts);
    expect(opened).toBeGreaterThan(3_000);
    expect(after.of("lane_flows")).toBeGreaterThan(1_000);
    expect(after.of("lane_restarts_total")).toBe(0);
    expect(after.of("queue_dropped_packets_total", { queue: "strict" })).toBe(0);
    expect(after.of("limits_reached_total")).toBeGreaterThan(0);
    flood.kill("SIGKILL");
    await once(flood, "exit");
    await nothingFollowed();
    server.kill("SIGKILL");
  }, 180_000);
});

describe("a pod whose SYNs somebody drops behind our rules", () => {
  const TRIES = 40;
  const LIMIT = 32;
  /** As the network policy of a CNI does. Such an entry is never confirmed, and nobody is told that it has ended. */
  const CNI = `add table ip cni; add chain ip cni forward { type filter hook forward priority 0; }; add rule ip cni forward tcp dport ${PORT} drop`;
  const CACHE = "169.254.20.10";
  /** As the manifests of a node-local DNS cache do. */
  const NOTRACK = `add table ip cache; add chain ip cache in { type filter hook prerouting priority raw; }; add chain ip cache out { type filter hook output priority raw; }; add rule ip cache in ip daddr ${CACHE} notrack; add rule ip cache out ip saddr ${CACHE} notrack`;
  /** Says of every name that there is nothing of it. */
  const CACHE_SERVER = `
require("node:net").createServer((socket) => socket.on("error", () => {}).on("data", (asked) => {
  asked[4] = 0x81;
  asked[5] = 0x80;
  socket.write(asked);
})).listen(53, "${CACHE}", () => console.log("listens"));
setTimeout(() => process.exit(0), 110_000);`;
  /** Asks for each name that it reads, all on one connection, and says what it is told. */
  const ASKER = `
const socket = require("node:net").connect(53, "${CACHE}");
socket.on("data", (told) => console.log({ 0: "NOERROR", 3: "NXDOMAIN" }[told[5] & 15])).on("error", (error) => console.log(error.code));
process.stdin.on("data", (line) => {
  const labels = String(line).trim().split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  const message = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1];
  socket.write(Buffer.from([0, message.length, ...message]));
});`;
  const CLIENT = `
const { connect } = require("node:net");
for (let i = 0; i < ${TRIES}; i++) connect({ host: "${PARTNER}", port: ${PORT} }).on("error", () => undefined);
setTimeout(() => console.log("tried"), 500);
setTimeout(() => process.exit(0), 60_000);`;

  test("is refused at its bound while they are tried, and no longer than a minute after; what it has open outside conntrack stays", async () => {
    const { world } = fault;
    await onNode("nft", CNI);
    await onNode("ip", "address", "add", `${CACHE}/32`, "dev", "lo");
    await onNode("nft", NOTRACK);
    const cache = world.lab.spawn("node1", [process.execPath, "-e", CACHE_SERVER], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(cache.stdout!, "data");
    const { spec } = parse(readFileSync(await world.lab.configYaml(1), "utf8"));
    await fault.start({ config: { limits: { lookingFlows: LIMIT }, resolvers: [...spec.resolvers, CACHE] } });
    const asker = world.lab.spawn(APP, [process.execPath, "-e", ASKER], { stdio: ["pipe", "pipe", "inherit"] });
    const answers = async (name: string) => {
      asker.stdin!.write(`${name}\n`);
      return String((await once(asker.stdout!, "data"))[0]).trim();
    };
    expect(await answers("api.github.com")).toBe("NOERROR");
    const client = world.lab.spawn(APP, [process.execPath, "-e", CLIENT], { stdio: ["ignore", "pipe", "inherit"] });
    await once(client.stdout!, "data");
    const tried = await fault.metrics();
    expect(tried.of("lane_flows")).toBe(LIMIT);
    expect(tried.of("limits_reached_total")).toBeGreaterThanOrEqual(TRIES - LIMIT);
    expect(await fault.byName()).not.toBe("200");
    client.kill("SIGKILL");
    await nothingFollowed();
    expect((await fault.metrics()).of("vanished_flows_total")).toBeGreaterThanOrEqual(LIMIT);
    expect(await fault.byName()).toBe("200");
    expect(await answers("raw.github.com")).toBe("NOERROR");
    expect(await answers("evil.example")).toBe("NXDOMAIN");
    for (const child of [asker, cache]) child.kill("SIGKILL");
  }, 120_000);
});
