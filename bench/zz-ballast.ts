import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { LOADS, runLoad } from "./loads.ts";
import { Stage } from "./stage.ts";

const [ids = "http", count = "640", turns = "5", S = "1.5"] = process.argv.slice(2);
const group = `/sys/fs/cgroup/cpuacct/zb${process.pid}`;
mkdirSync(group);
writeFileSync(`${group}/cgroup.procs`, String(process.pid));
const usage = () => Number(readFileSync(`${group}/cpuacct.usage`, "utf8"));
const stage = await Stage.up(new AbortController().signal);
const med = (x: number[]) => [...x].sort((p, q) => p - q)[x.length >> 1]!;
const idle = () => Number(readFileSync("/proc/stat", "utf8").split("\n")[0]!.split(/\s+/)[4]);
const round = async (load: any, c: "none" | "sallyport") => {
  const u = usage(),
    own = process.cpuUsage(),
    i = idle();
  const r = await runLoad(stage, load, c, Number(S));
  await new Promise((ok) => setTimeout(ok, 400));
  const o = process.cpuUsage(own);
  return [load.value(r!), ((usage() - u) / 1000 - o.user - o.system) / r!.done, idle() - i] as const;
};
const ns = stage.gate.node(1).netns;
const waiting = () =>
  execFileSync("ip", ["netns", "exec", ns, "cat", "/proc/net/netfilter/nfnetlink_queue"], { encoding: "utf8" }).trim();
try {
  const loads = ids.split(",").map((id) => ({ ...LOADS.find((l) => l.id === id)!, most: 100_000_000 }));
  for (const load of loads) {
    await runLoad(stage, load, "none", 1);
    await runLoad(stage, load, "sallyport", 4);
  }
  for (const phase of ["without", "with", "more"]) {
    if (phase !== "without") {
      const pod = readFileSync;
      void pod;
      const code = `const d=require('node:dgram');let n=0;for(let i=0;i<${count};i++){const s=d.createSocket('udp4');s.send('x',9999,'203.0.113.66',()=>{if(++n==${count})setTimeout(()=>process.exit(0),300)})}`;
      await stage.gate.exec("bench-ns/client" in {} ? "" : (await import("./stage.ts")).CLIENT, [
        process.execPath,
        "-e",
        code,
      ]);
      console.log(waiting());
    }
    for (const load of loads) {
      const a: any[] = [],
        b: any[] = [];
      for (let t = 0; t < Number(turns); t++) {
        a.push(await round(load, "none"));
        b.push(await round(load, "sallyport"));
      }
      console.log(
        "==",
        phase,
        load.id,
        "ratio",
        med(b.map((x, i) => x[0] / a[i][0])).toFixed(3),
        "rate",
        med(a.map((x) => x[0])).toFixed(0),
        med(b.map((x) => x[0])).toFixed(0),
        "cpu",
        med(a.map((x) => x[1])).toFixed(1),
        med(b.map((x) => x[1])).toFixed(1),
        "idle",
        b.map((x) => x[2]).join(" "),
      );
    }
  }
} finally {
  await Stage.clear();
}
process.exit(0);
