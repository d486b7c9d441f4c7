import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { inNetworkOnly, run } from "../../src/lab/process.ts";
import { sleep } from "../support/agent-lab.ts";
import { APP, FaultLab, PARTNER } from "../support/fault-lab.ts";
import { shrinkEndingsBuffer } from "../support/small-buffer.ts";

const FLOWS = 400;
/** Opens flows by address, and a connection that says nothing, which the lane follows; keeps the sockets. */
const CLIENT = `
const { createSocket } = require("node:dgram");
for (let i = 0; i < ${FLOWS}; i++) createSocket("udp4").send("hello", 9000 + (i % 50), "${PARTNER}");
require("node:net").connect({ host: "${OUTSIDE.githubApi.ipv4}", port: 443 }, () => console.log("open"));
setTimeout(() => undefined, 60_000);
`;

let fault: FaultLab;

beforeAll(async () => {
  fault = await FaultLab.up("les");
});

afterAll(() => fault?.down());

const node = (...argv: string[]) => run(inNetworkOnly(fault.world.lab.node(1).netns, argv), { timeoutMs: 20_000 });

test("endings that the kernel could not tell of are found: the open flows are those of conntrack again", async () => {
  const { world } = fault;
  // What setting up the lab has left there.
  expect(await node("conntrack", "-F")).toMatchObject({ status: 0 });
  const agent = await fault.start({ supervised: false });
  const slow = fault.download();
  const client = world.lab.spawn(APP, [process.execPath, "-e", CLIENT], { stdio: ["ignore", "pipe", "inherit"] });
  await once(client.stdout!, "data");
  const before = await world.until("open flows", async () => {
    const now = await fault.metrics();
    return now.of("live_flows") === FLOWS + 1 && now.of("lane_flows") === 1 ? now : null;
  });
  expect(before.of("endings_lost_total")).toBe(0);
  shrinkEndingsBuffer(agent.child.pid!);
  const of = ["conntrack", "-D", "-s", world.lab.pod(APP).address.ipv4];
  expect(await node(...of, "-p", "udp")).toMatchObject({ status: 0 });
  expect(await node(...of, "-p", "tcp", "--dport", "443")).toMatchObject({ status: 0 });
  const after = await world.until(
    "the truth",
    async () => {
      const now = await fault.metrics();
      return now.of("live_flows") === 1 && now.of("lane_flows") === 0 ? now : null;
    },
    20_000,
  );
  expect(slow.runs()).toBe(true);
  expect(after.of("endings_lost_total")).toBeGreaterThan(0);
  const found = after.of("endings_found_total");
  expect(found).toBeGreaterThan(FLOWS / 2);
  const ends = await world.until("all end records", () => {
    const all = world.records().filter(({ event, protocol }) => event === "end" && protocol === "UDP");
    return all.length >= FLOWS ? all : null;
  });
  // One for each flow; those that were told of have their sizes, the others say that nobody knows.
  expect(new Set(ends.map(({ flowId }) => flowId)).size).toBe(FLOWS);
  expect(ends.length).toBe(FLOWS);
  const unknown = ends.filter(({ closedBy }) => closedBy === "unknown");
  expect(unknown.length).toBe(found);
  expect(unknown.some(({ sent, received, durationMs }) => sent ?? received ?? durationMs)).toBe(false);
  expect(await agent.event("endings-found")).toBeDefined();
  slow.stop();
  client.kill("SIGKILL");
  await sleep(100);
});
