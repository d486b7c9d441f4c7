import { join } from "node:path";
import { expect, test } from "vitest";
import { killLoop, killLoopText } from "../soak/kill-loop.ts";

test("twenty seconds of kill -9: nothing that is allowed breaks, nothing that is denied gets out", async () => {
  const figures = await killLoop({
    seconds: 20,
    // Slower than `make kill-loop`: beside other work a start may take most of a second.
    everyMs: 2_000,
    command: [join(import.meta.dirname, "../../bin/sallyport")],
    name: `kll${process.pid % 10_000}`,
  });
  const text = killLoopText(figures);
  expect(figures.kills.agent + figures.kills.supervisor, text).toBe(10);
  expect(figures.brokenFlows, text).toBe(0);
  expect(figures.leaked, text).toEqual({ packets: 0, payload: 0, what: [] });
  for (const { begun } of figures.traffic.downloads) expect(begun, text).toBeGreaterThan(0);
  for (const { ok, asked } of figures.traffic.probes) expect(ok / asked, text).toBeGreaterThan(0.6);
});
