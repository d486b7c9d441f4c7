import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { APP, FaultLab, POLICY } from "../support/fault-lab.ts";

let fault: FaultLab;

beforeAll(async () => {
  fault = await FaultLab.up("fin");
  await fault.start();
  await fault.world.lab.forgetOutside();
});

afterAll(() => fault?.down());

/** Problems of this kind are counted, what ran goes on, and nothing is open. */
async function refused(event: string, change: () => void): Promise<void> {
  const count = async () => (await fault.metrics()).of("problems_total", { event });
  const before = await count();
  const epoch = (await fault.metrics()).of("epoch");
  change();
  await fault.world.until(`count of \`${event}\``, async () => (await count()) > before);
  expect((await fault.metrics()).of("epoch")).toBe(epoch);
  expect(await fault.isReady()).toBe(true);
  expect(await fault.byAddress()).toBe("200");
  expect(await fault.closed()).toBe(true);
}

describe("inputs that break", () => {
  test("a workloads file that is half written, then gone: the pods that were known stay known", async () => {
    const { workloadsPath } = fault.world.lab;
    const whole = readFileSync(workloadsPath, "utf8");
    await refused("workloads-refused", () => writeFileSync(workloadsPath, whole.slice(0, whole.length >> 1)));
    await refused("workloads-refused", () => rmSync(workloadsPath));
    await fault.world.applied(() => fault.world.lab.setLabels(APP, { again: "yes" }));
  });

  test("a policies folder that is gone, or holds half a document: what was enforced stays", async () => {
    const { policies } = fault.world;
    await refused("documents-refused", () => renameSync(policies, `${policies}.away`));
    renameSync(`${policies}.away`, policies);
    await refused("documents-refused", () => fault.world.write("app.yaml", POLICY.slice(0, POLICY.length - 120)));
    await fault.world.applied(() => fault.world.write("app.yaml", POLICY.replace("8443", "8444")));
    expect(await fault.byAddress()).not.toBe("200");
    await fault.world.applied(() => fault.world.write("app.yaml", POLICY));
    expect(await fault.byAddress()).toBe("200");
  });
});
