import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { must, run } from "../../src/lab/process.ts";
import { sleep } from "../support/agent-lab.ts";
import { APP, FaultLab } from "../support/fault-lab.ts";

let fault: FaultLab;
let disk: string;

beforeAll(async () => {
  fault = await FaultLab.up("fdk");
  disk = join(fault.world.lab.directory, "disk");
  mkdirSync(disk);
  await must(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", disk]);
  await fault.start({ flows: join(disk, "flows.jsonl"), state: join(disk, "state") });
});

afterAll(async () => {
  await fault?.world.agent?.stop(2_000).catch(() => undefined);
  if (disk !== undefined) await run(["umount", "-l", disk]);
  await fault?.down();
});

/** Takes all the room that is left. */
function fill(): void {
  try {
    for (let piece = 0; piece < 64; piece++) writeFileSync(join(disk, `ballast${piece}`), Buffer.alloc(16_384));
  } catch {
    for (let piece = 64; piece < 1_000; piece++) {
      try {
        writeFileSync(join(disk, `ballast${piece}`), "x");
      } catch {
        return;
      }
    }
  }
}

async function empty(): Promise<void> {
  await must(["sh", "-c", `rm -f ${disk}/ballast*`]);
}

describe("a full disk under flow log and journal", () => {
  test("verdicts go on, what is lost is counted, and the log says how much", async () => {
    const { world } = fault;
    await world.lab.forgetOutside();
    expect(await fault.byName(APP)).toBe("200");
    fill();
    for (let i = 0; i < 30; i++) expect(await fault.byAddress()).toBe("200");
    for (let i = 0; i < 20; i++) expect(await world.get(APP, "http://203.0.113.66/", "-m", "1")).not.toBe("200");
    await world.agent?.event("flow-log-failed", 8_000);
    await world.agent?.event("journal-failed", 8_000);
    expect(await fault.isReady()).toBe(true);
    expect(await fault.closed()).toBe(true);
    const during = await world.until("failures in the metrics", async () => {
      const now = await fault.metrics();
      return now.of("records_pending_bytes") > 0 && now.of("journal_failures_total") > 0 ? now : null;
    });
    expect(during.of("problems_total", { event: "flow-log-failed" })).toBeGreaterThan(0);
    await empty();
    // Whatever was decided is written or counted, and the log itself tells of the loss.
    const { after, records, told } = await world.until(
      "a log that is whole again",
      async () => {
        const after = await fault.metrics();
        const records = world.records(join(disk, "flows.jsonl"));
        const told = records.reduce((sum, record) => sum + (record.lost ?? 0), 0);
        const whole = after.of("records_pending_bytes") === 0 && told === after.of("records_lost_total");
        return whole ? { after, records, told } : null;
      },
      8_000,
    );
    const decided = after.of("decisions_total", { kind: "flow" });
    const decisions = records.filter(({ event }) => event === "decision").length;
    expect(decisions + told).toBeGreaterThanOrEqual(decided);
  });

  test("the journal is made good once there is room: a restart remembers", async () => {
    const { world } = fault;
    const slow = fault.download(APP, "https://raw.github.com/slow");
    await sleep(600);
    await world.until(
      "a journal that is written",
      async () => {
        const before = (await fault.metrics()).of("journal_records_total");
        await fault.byAddress();
        await sleep(200);
        return (await fault.metrics()).of("journal_records_total") > before;
      },
      15_000,
    );
    await sleep(300);
    world.agent?.forgetLog();
    await world.agent?.kill();
    const agent = await fault.start({ flows: join(disk, "flows.jsonl"), state: join(disk, "state") });
    expect(Number(agent.log.find(({ event }) => event === "ready")?.["remembered"])).toBeGreaterThan(0);
    await sleep(300);
    expect(slow.runs()).toBe(true);
    slow.stop();
  });

  test("an agent starts on a full disk, and on a folder that is gone", async () => {
    const { world } = fault;
    await world.agent?.stop();
    rmSync(join(disk, "state"), { recursive: true });
    fill();
    await fault.start({ flows: join(disk, "flows.jsonl"), state: join(disk, "state") });
    expect(await fault.byName()).toBe("200");
    expect(await fault.closed()).toBe(true);
    await empty();
  });
});
