/** Whether anything else runs on the machine: a round that begins beside a compiler measures the compiler. */
import { readFileSync } from "node:fs";

const SAMPLE_MS = 150;
const CALM = 0.85;

/** Waits until the machine idles, at most so long. False: it never did, and what follows is disturbed. */
export async function calm(limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const before = ticks();
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    const after = ticks();
    if ((after.idle - before.idle) / Math.max(1, after.all - before.all) >= CALM) return true;
    if (performance.now() > deadline) return false;
  }
}

/** Of all processors, since the machine started. */
function ticks(): { readonly idle: number; readonly all: number } {
  const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n");
  const fields = line.trim().split(/\s+/).slice(1, 9).map(Number);
  return { idle: (fields[3] ?? 0) + (fields[4] ?? 0), all: fields.reduce((sum, field) => sum + field, 0) };
}
