import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
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
  const CLIENT = `
const { connect } = require("node:net");
for (let i = 0; i < ${TRIES}; i++) connect({ host: "${PARTNER}", port: ${PORT} }).on("error", () => undefined);
setTimeout(() => console.log("tried"), 500);
setTimeout(() => process.exit(0), 60_000);`;

  test("is refused at its bound while they are tried, and no longer than a minute after", async () => {
    const { world } = fault;
    await onNode("nft", CNI);
    await fault.start({ config: { limits: { lookingFlows: LIMIT } } });
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
  }, 120_000);
});
