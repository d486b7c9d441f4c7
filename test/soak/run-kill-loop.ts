/** `node run-kill-loop.ts [SECONDS]`: the kill loop on the built agent. Root. Exit status 1 when something broke or leaked. */
import { loadavg } from "node:os";
import { join } from "node:path";
import { killLoop, killLoopText } from "./kill-loop.ts";

const seconds = Number(process.argv[2] ?? 600);
const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => stopping.abort(new Error(`${signal}: the lab is taken down`)));
}
const load = () =>
  loadavg()
    .map((value) => value.toFixed(1))
    .join(" ");
const before = load();
try {
  const figures = await killLoop({
    seconds,
    command: [process.env.SALLYPORT ?? join(import.meta.dirname, "../../bin/sallyport")],
    name: `kil${process.pid % 10_000}`,
    say: (line) => process.stderr.write(`${line}\n`),
    signal: stopping.signal,
  });
  process.stdout.write(killLoopText(figures));
  console.log(`machine's load    ${before} before, ${load()} after`);
  const { leaked, brokenFlows, traffic } = figures;
  const lost = traffic.probes.reduce((sum, { asked, ok }) => sum + asked - ok, 0);
  console.log(`lost clients      ${lost}`);
  if (leaked.packets + leaked.payload + brokenFlows > 0) process.exitCode = 1;
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
