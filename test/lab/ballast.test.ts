import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BALLAST } from "../../src/agent/ballast.ts";
import { parseQueueStatistics } from "../../src/kernel/queue-statistics.ts";
import { queueHasTable } from "../../src/kernel/queue-table.ts";
import { queuesOf } from "../../src/kernel/ruleset.ts";
import { inNetworkOnly, must } from "../../src/lab/process.ts";
import { APP, FaultLab, PARTNER } from "../support/fault-lab.ts";

const SOON = { timeout: 15_000, interval: 250 };
const QUEUE = queuesOf(5_100, 0).strict;

let fault: FaultLab;

beforeAll(async () => {
  fault = await FaultLab.up("bal");
  await fault.start();
});

afterAll(() => fault?.down());

const onNode = (...argv: string[]) => must(inNetworkOnly(fault.world.lab.node(1).netns, argv));

/** Packets in the strict queue, as the kernel tells. */
async function inQueue(): Promise<number> {
  const text = await onNode("cat", "/proc/net/netfilter/nfnetlink_queue");
  return parseQueueStatistics(text, QUEUE)?.waiting ?? -1;
}

/** What a reader of the metrics is told of it. */
async function told() {
  const metrics = await fault.metrics();
  return { asked: metrics.of("packets_total"), waiting: metrics.of("queue_waiting_packets", { queue: "strict" }) };
}

describe.runIf(queueHasTable())("packets of the agent's own in the strict queue", () => {
  test("come when the rules are there, are in no number, and nobody waits behind them", async () => {
    await expect.poll(inQueue, SOON).toBe(BALLAST);
    expect(await told()).toEqual({ asked: 0, waiting: 0 });
    expect(await fault.world.get(APP, `https://${PARTNER}:8443/`, "-k")).toBe("200");
    expect((await told()).asked).toBeGreaterThan(0);
    expect(await inQueue()).toBe(BALLAST);
  });

  test("are made up for when the kernel has dropped them with a table of rules", async () => {
    await onNode("nft", "delete", "table", "inet", "sallyport");
    await expect.poll(inQueue, SOON).toBeLessThan(BALLAST);
    await expect.poll(inQueue, SOON).toBe(BALLAST);
    expect(await fault.world.get(APP, `https://${PARTNER}:8443/`, "-k")).toBe("200");
  });

  test("are not joined by those of others that send the same", async () => {
    const code = `
const { RawSender } = await import("${import.meta.dirname}/../../src/kernel/raw-socket.ts");
const sender = new RawSender(15);
const packet = Uint8Array.from([0x45, 0, 0, 20, 0, 0, 0, 0, 1, 253, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
for (let i = 0; i < 5_000; i++) sender.send(packet);
console.log(sender.sent);`;
    expect(Number(await onNode(process.execPath, "--input-type=module", "-e", code))).toBeGreaterThan(4_000);
    await expect.poll(inQueue, SOON).toBe(BALLAST);
    expect((await told()).waiting).toBe(0);
    expect(await fault.world.get(APP, `https://${PARTNER}:8443/`, "-k")).toBe("200");
  });
});
