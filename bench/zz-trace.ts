import { execFileSync } from "node:child_process";
import { LOADS, runLoad } from "./loads.ts";
import { Stage } from "./stage.ts";

const stage = await Stage.up(new AbortController().signal);
try {
  for (const id of process.argv.slice(2)) {
    const load = { ...LOADS.find((l) => l.id === id)!, most: 100_000_000 };
    await runLoad(stage, load, "sallyport", 4);
    const run = runLoad(stage, load, "sallyport", 2);
    setTimeout(() => execFileSync("sh", ["/tmp/tr.sh", id]), 1000);
    console.log(JSON.stringify(await run));
  }
} finally {
  await Stage.clear();
}
process.exit(0);
