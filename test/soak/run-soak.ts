/** `node run-soak.ts [MINUTES] [CONNECTIONS]`: the soak on the built agent. Root. Exit status 1 when something grows. */
import { loadavg } from "node:os";
import { join } from "node:path";
import { soak, soakText, whatGrows } from "./soak.ts";

const minutes = Number(process.argv[2] ?? 10);
const connections = Number(process.argv[3] ?? 1_000_000);
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
  const figures = await soak({
    seconds: minutes * 60,
    connections,
    sampleEveryMs: 10_000,
    command: [process.env.SALLYPORT ?? join(import.meta.dirname, "../../bin/sallyport")],
    name: `soa${process.pid % 10_000}`,
    say: (line) => console.log(line),
    signal: stopping.signal,
  });
  process.stdout.write(soakText(figures));
  console.log(`load          ${before} before, ${load()} after`);
  for (const problem of whatGrows(figures, 48)) {
    console.log(`grows         ${problem}`);
    process.exitCode = 1;
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
