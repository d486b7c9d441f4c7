import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { soak, soakText, whatGrows } from "../soak/soak.ts";

/** With the headers of the C library, which are a package of their own. */
const compiler = spawnSync("gcc", ["-E", "-include", "stdio.h", "-x", "c", "/dev/null"]).status === 0;

test.skipIf(!compiler)(
  "a minute of connections, names, pods and policies leaves nothing behind",
  {
    timeout: 240_000,
  },
  async () => {
    const figures = await soak({
      seconds: 60,
      connections: 1_000_000,
      sampleEveryMs: 3_000,
      command: [join(import.meta.dirname, "../../bin/sallyport")],
      name: `skl${process.pid % 10_000}`,
    });
    const text = soakText(figures);
    expect(figures.connections, text).toBeGreaterThan(5_000);
    expect(figures.failed / figures.connections, text).toBeLessThan(0.01);
    expect(figures.passers.ok, text).toBeGreaterThan(figures.passers.all / 2);
    expect(figures.restarts, text).toBe(0);
    // In a minute the heap is still finding its size.
    expect(whatGrows(figures, 160), text).toEqual([]);
  },
);
