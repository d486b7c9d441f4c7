/**
 * A large cluster as one node sees it: 10,000 policies of 500 namespaces, 110 pods on the node in ten of them, so that 200
 * policies concern it. How long until a changed policy is enforced, until a fresh agent is ready, and what memory it takes.
 */
import { spawn } from "node:child_process";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { stringify } from "yaml";
import { AgentProcess } from "../src/lab/agent-process.ts";
import type { Lab } from "../src/lab/lab.ts";
import { inNetworkOnly } from "../src/lab/process.ts";
import { clientPolicy, NAMESPACES, OWN_NAMESPACES, PODS, POLICIES_EACH, policiesOf } from "./scale-objects.ts";
import { agentPid, CLIENT, PARTNER, PORTS, pause, SALLYPORT, type Stage, tool } from "./stage.ts";
import { percentile, type Summary, summarize } from "./statistics.ts";

export interface ScaleResult {
  readonly policies: number;
  readonly pods: number;
  /** Milliseconds from the rename of the changed file to the first flow with the new outcome. */
  readonly change: Summary & { readonly p99: number };
  /** Milliseconds from starting the process to its `ready`. */
  readonly ready: Summary;
  /** MiB of resident memory: after `ready` and a pause, after the changes, and the most there ever was. */
  readonly memory: { readonly rest: number; readonly afterChanges: number; readonly peak: number };
}

export interface ScaleOptions {
  readonly starts: number;
  readonly changes: number;
  /** Changes stop when this is over. */
  readonly changeSeconds: number;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** Leaves no agent behind. */
export async function measureScale(stage: Stage, options: ScaleOptions): Promise<ScaleResult> {
  const folder = `${stage.gate.directory}/scale`;
  await mkdir(`${folder}/policies`, { recursive: true });
  for (let i = 0; i < NAMESPACES; i++)
    await writeFile(
      `${folder}/policies/team-${i}.yaml`,
      policiesOf(i)
        .map((policy) => stringify(policy))
        .join("---\n"),
    );
  await writeFile(`${folder}/policies/bench.yaml`, stringify(clientPolicy(false)));
  await writeFile(`${folder}/workloads.yaml`, workloadsText(stage.gate));
  await stage.stopAgent();
  const config = await stage.gate.configYaml(1, await stage.config());
  const start = () =>
    AgentProcess.start(stage.gate, {
      ...{ node: 1, command: [SALLYPORT], policies: `${folder}/policies`, workloads: `${folder}/workloads.yaml` },
      ...{ config, readyTimeoutMs: 90_000 },
    });
  const ready: number[] = [];
  let agent: AgentProcess | null = null;
  try {
    for (let i = 0; i < options.starts; i++) {
      options.signal.throwIfAborted();
      await agent?.stop();
      const begun = Date.now();
      agent = await start();
      const line = await agent.event("ready");
      ready.push(Date.parse(String(line.time)) - begun);
      options.say(`start ${i + 1}: ready after ${ready.at(-1)} ms`);
    }
    const pid = await agentPid(agent);
    await pause(3_000);
    const rest = await resident(pid, "VmRSS");
    const times = await changes(stage, `${folder}/policies/bench.yaml`, options);
    const memory = { rest, afterChanges: await resident(pid, "VmRSS"), peak: await resident(pid, "VmHWM") };
    const change = { ...summarize(times), p99: percentile(times, 0.99) };
    return { policies: NAMESPACES * POLICIES_EACH, pods: PODS, change, ready: summarize(ready), memory };
  } finally {
    await agent?.stop();
  }
}

/** The client may reach the probe's port, or not: the file changes, and a new flow every millisecond shows when it counts. */
async function changes(stage: Stage, file: string, options: ScaleOptions): Promise<number[]> {
  const argv = [tool("probe"), String(options.changeSeconds + 20), "1000", `${PARTNER}:${PORTS.probe}`];
  const [program = "", ...rest] = inNetworkOnly(stage.gate.netns(CLIENT), argv);
  const child = spawn(program, rest, { stdio: ["ignore", "pipe", "inherit"] });
  const seen: { readonly at: number; readonly open: boolean }[] = [];
  child.stdout.on("data", (chunk: Buffer) => {
    for (const line of chunk.toString().trim().split("\n")) {
      const [at, outcome] = line.split(" ");
      seen.push({ at: Number(at) / 1e6, open: outcome === "open" });
    }
  });
  const times: number[] = [];
  const deadline = performance.now() + options.changeSeconds * 1000;
  try {
    await pause(200);
    for (let i = 0; i < options.changes && performance.now() < deadline; i++) {
      options.signal.throwIfAborted();
      const open = i % 2 === 0;
      await writeFile(`${file}.new`, stringify(clientPolicy(open)));
      const known = seen.length;
      const begun = Number(process.hrtime.bigint()) / 1e6;
      await rename(`${file}.new`, file);
      while (!seen.slice(known).some((one) => one.open === open)) {
        if (performance.now() > deadline + 15_000)
          throw new Error("a changed policy does not take effect: see the agent's log");
        await pause(2);
      }
      times.push((seen.slice(known).find((one) => one.open === open)?.at ?? 0) - begun);
      options.say(`change ${i + 1}: enforced after ${times.at(-1)?.toFixed(0)} ms`);
      await pause(100);
    }
    return times;
  } finally {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await ended;
  }
}

async function resident(pid: number, field: "VmRSS" | "VmHWM"): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(text)?.[1] ?? 0) / 1024;
}

/** The client's pod, and 109 that are only on paper. */
function workloadsText(lab: Lab): string {
  const client = lab.pod(CLIENT);
  const pod = (namespace: string, name: string, uid: string, labels: object, addresses: readonly string[]) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace, name, uid, labels },
    spec: {
      nodeName: "node1",
      serviceAccountName: "default",
      containers: [{ name: "main", image: "registry.example/app:1" }],
    },
    status: { phase: "Running", podIP: addresses[0], podIPs: addresses.map((ip) => ({ ip })) },
  });
  const paper = Array.from({ length: PODS - 1 }, (_, i) =>
    pod(
      `team-${i % OWN_NAMESPACES}`,
      `app-${i}`,
      `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`,
      { app: `app-${i % 4}` },
      [`10.244.1.${100 + i}`, `fd00:244:1::${100 + i}`],
    ),
  );
  const own = pod(client.namespace, client.name, client.uid, client.labels, [client.address.ipv4, client.address.ipv6]);
  const names = ["bench-ns", ...Array.from({ length: NAMESPACES }, (_, i) => `team-${i}`)];
  const namespaces = names.map((name) => ({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name, labels: { "kubernetes.io/metadata.name": name } },
  }));
  return stringify({ apiVersion: "v1", kind: "List", items: [own, ...paper, ...namespaces] });
}
