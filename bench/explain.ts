/** How long `sallyport explain` takes from the shell: `node bench/explain.ts`. Milliseconds; 150 are promised. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const ROUNDS = 21;
const root = join(import.meta.dirname, "..");
const example = join(root, "examples/two-apps");
const words = [
  ...["explain", "--policies", join(example, "policies"), "--workloads", join(example, "tests/workloads.yaml")],
  ...["--from", "app1-ns/app1", "--to", "https://api.github.com/", "-o", "json"],
];

const times: number[] = [];
for (let round = 0; round <= ROUNDS; round++) {
  const begun = performance.now();
  const { status, stderr } = spawnSync(join(root, "bin/sallyport"), words, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  // The first one fills the compile cache.
  if (round > 0) times.push(performance.now() - begun);
}
times.sort((a, b) => a - b);
const at = (share: number): string => (times[Math.floor(share * (times.length - 1))] ?? 0).toFixed(0);
console.log(`explain: p50 ${at(0.5)} ms, fastest ${at(0)}, slowest ${at(1)} (${ROUNDS} runs)`);
