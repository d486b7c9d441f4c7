/** `node orphan-watcher.ts LAB`: removes the lab when standard input ends without the word `release`. See orphan-watch.ts. */
import { removeLab } from "./teardown.ts";

// Programs that the dead process had started may still be making things: once more when they are done.
const PASSES_MS = [0, 500, 2_000];

const lab = process.argv[2] ?? "";
let said = "";
process.stdin.setEncoding("utf8");
for await (const chunk of process.stdin) said = (said + chunk).slice(-64);
if (!said.includes("release")) {
  for (const wait of PASSES_MS) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    await removeLab(lab).catch(() => {});
  }
}
