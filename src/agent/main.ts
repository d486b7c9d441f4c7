import { rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { Conntrack } from "../kernel/conntrack.ts";
import { forgetMarks } from "../kernel/conntrack-forget.ts";
import { HostTable } from "../kernel/host-table.ts";
import { dieWithParent, trimMemory } from "../kernel/libc.ts";
import { probeQueueMethod, Ruleset } from "../kernel/nftables.ts";
import { missingFeatures } from "../kernel/rule-features.ts";
import { Agent, type WorkerFiles } from "./agent.ts";
import { Applier } from "./applier.ts";
import { BootRules } from "./boot-rules.ts";
import { BypassWatch } from "./bypass/bypass-watch.ts";
import { Denials } from "./cluster/denials.ts";
import { FlowCounts } from "./coverage/flow-counts.ts";
import { FlowFile } from "./flow-file.ts";
import { FlowLog, lostLine } from "./flow-log.ts";
import { FlowSink } from "./flow-sink.ts";
import { FlowStdout } from "./flow-stdout.ts";
import { HostPods } from "./host-network/host-pods.ts";
import { makeHostTable } from "./host-network/host-rules.ts";
import { JournalFile } from "./journal/file.ts";
import { defaultStateFolder, removeState } from "./journal/folder.ts";
import { Journal } from "./journal/journal.ts";
import { checkPrivileges } from "./kernel-check.ts";
import { KubeSources } from "./kube-sources.ts";
import { createLogger, type Logger, RateLimit } from "./log.ts";
import { collectGarbage, MemoryKeeper } from "./memory-keeper.ts";
import { Observatory } from "./metrics/observatory.ts";
import { Problems } from "./metrics/problems.ts";
import type { AgentOptions } from "./options.ts";
import { Sources } from "./sources.ts";
import type { Inputs } from "./state.ts";
import { type Place, takePlace } from "./succession/place.ts";
import { Succession, tell } from "./succession/succession.ts";
import { BEAT_DESCRIPTOR, TOLD } from "./supervisor.ts";
import { workerFile } from "./worker-file.ts";

export type { AgentOptions };

/** Runs the agent until SIGTERM or SIGINT. Rejects with an Error, one line a problem, when it cannot start. */
export async function runAgent(options: AgentOptions): Promise<void> {
  const problems = new Problems();
  const log = createLogger(options.logLevel, (level, event, message) => problems.add(level, event, message));
  if (options.supervisor !== null && !dieWithParent(options.supervisor)) {
    throw new Error("the supervisor of this agent has ended");
  }
  let place: Place | null = null;
  // Programs that run beside this thread while it reads the documents.
  const probing = probeQueueMethod();
  probing.catch(() => undefined);
  let observatory: Observatory | null = null;
  let applier: Applier | null = null;
  const folder = options.state ?? defaultStateFolder();
  const bypass = new BypassWatch({ folder, log, changed: () => void applier?.apply(wanted()) });
  const changed = (): void => void applier?.apply(wanted());
  const hostPods = new HostPods({
    mount: options.controlGroups,
    staticPods: options.staticPods,
    folder,
    changed,
  });
  const sources = await openSources(options, log, hostPods, changed);
  const wanted = (): Inputs => hostPods.add({ ...sources.inputs, bypasses: bypass.active });
  const keeper = memoryKeeper(sources);
  try {
    const method = await probing;
    checkPrivileges();
    place = await takePlace(folder, log, () => tell(options, TOLD.waiting));
    const { generation } = place;
    const flowLog = new FlowLog(openSink(options, log));
    const journal = new Journal({
      file: new JournalFile(folder, generation),
      run: flowLog.run,
      keyOf: (id) => sources.keyOf(id),
      log,
    });
    const stopped = stopSignal();
    process.on("SIGHUP", () => {
      log.info({ event: "reload", changed: sources.reload() });
      void flowLog.reopen();
    });
    const agent = new Agent(
      wanted(),
      method,
      workerFiles(),
      flowLog,
      journal,
      log,
      options.supervisor === null ? -1 : BEAT_DESCRIPTOR,
      place,
      options.bootRules === null ? null : new BootRules(options.bootRules, log),
      hostPods,
    );
    const { listen, version } = options;
    if (listen.length > 0)
      observatory = new Observatory(() => ({ ...agent.parts, cluster: sources.report }), {
        listen,
        version,
        problems,
        log,
      });
    await agent.start();
    agent.parts.counts.onInForce = (inputs) => sources.inForce(inputs);
    const apply = async (inputs: Inputs): Promise<void> => {
      await agent.apply(inputs).finally(() => sources.applied());
      bypass.applied(agent.parts.epoch.inputs.bypasses ?? []);
    };
    applier = new Applier({ apply, wanted, log });
    bypass.applied(agent.parts.epoch.inputs.bypasses ?? []);
    sources.follow();
    bypass.follow();
    const denials = new Denials();
    const flows = new FlowCounts();
    if (options.kube !== null) {
      flowLog.onDenial = (event, workload) => denials.add(event, workload);
      flowLog.onFlow = (workloadId) => flows.add(workloadId);
    }
    sources.tellStatus(version, () => agent.parts, denials, {
      refused: (pod) => denials.lastOf(pod) + agent.parts.floods.signsOf(pod),
      flows: (pod) => flows.of(pod),
      endings: agent.parts.endings,
    });
    keeper.start();
    const replaced = (): void => {
      sources.silence();
      void observatory?.close();
    };
    const succession = new Succession(agent, options, log, replaced);
    await succession.open(place);
    const why = await succession.until(stopped);
    const remove = sources.uninstalling && !succession.retiring;
    if (remove) tell(options, TOLD.removing);
    log.info({ event: "stopping", signal: why, remove });
    const saved = sources.close();
    bypass.close();
    applier.close();
    await observatory?.close();
    await agent.stop(remove);
    succession.close();
    await saved;
    if (remove) removeState(folder);
    log.info({ event: "stopped" });
  } finally {
    keeper.close();
    bypass.close();
    hostPods.close();
    place?.lock?.release();
    await sources.close();
    await observatory?.close();
  }
}

/**
 * Makes the rules that tell pods on the host's network from it, for an agent that cannot itself (docs/adr/0025-host-network-pods.md), or says why it cannot: that
 * is no failure, for the agent reports these pods then.
 */
export async function prepareHostNetwork(controlGroups: string | null): Promise<void> {
  const pods = new HostPods({ mount: controlGroups, folder: null, changed: () => {} });
  try {
    await makeHostTable(pods);
    console.log("pods on the host's network can be told apart");
  } catch (error) {
    console.log(`pods on the host's network cannot be held: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    pods.close();
  }
}

/** Says what the kernel here offers and what is missing. True when an agent could run. */
export async function checkKernel(): Promise<boolean> {
  try {
    checkPrivileges();
    const method = await probeQueueMethod();
    const missing = await missingFeatures();
    if (missing.length > 0) {
      for (const what of missing)
        console.log(`this kernel has no ${what}: load the module, or take a kernel that has it`);
      return false;
    }
    console.log(
      `ready to enforce; packets come through ${method === "native" ? "nft `queue`" : "the xtables NFQUEUE target"}`,
    );
    return true;
  } catch (error) {
    console.log(error instanceof Error ? error.message : String(error));
    return false;
  }
}

/**
 * Takes away everything that an agent left in the kernel, and what it remembered. From then on nothing is enforced.
 * `state`: its folder; null: the usual one.
 */
export async function removeEnforcement(options: {
  readonly state: string | null;
  readonly bootRules: string | null;
}): Promise<void> {
  const ruleset = new Ruleset();
  const hostTable = new HostTable();
  const conntrack = new Conntrack();
  try {
    const mask = await ruleset.installedMask();
    await ruleset.remove();
    await hostTable.remove();
    if (mask !== null) forgetMarks(conntrack, mask);
  } finally {
    conntrack.close();
    hostTable.close();
    ruleset.close();
  }
  if (options.bootRules !== null) rmSync(options.bootRules, { force: true });
  removeState(options.state ?? defaultStateFolder());
}

function openSources(
  options: AgentOptions,
  log: Logger,
  hostPods: HostPods,
  changed: () => void,
): Sources | Promise<KubeSources> {
  if (options.kube === null) return new Sources(options, log, changed);
  const folder = options.state ?? defaultStateFolder();
  // A supervisor that hears nothing would take the wait for a hang.
  const waiting = (): void => tell(options, TOLD.waiting);
  return KubeSources.open({ ...options.kube, folder, log, hostPods, changed, waiting });
}

function openSink(options: AgentOptions, log: Logger): FlowSink | null {
  if (options.flows === null) return null;
  const limit = new RateLimit(10_000);
  const { flows: path, flowsMaxSize: maxSize, flowsKeep: keep } = options;
  const onTrouble = (message: string, lost: number): void => {
    const suppressed = limit.allow(performance.now());
    if (suppressed === null) return;
    log.error(
      { event: "flow-log-failed", error: message, lost, suppressed },
      "the flow log cannot be written; verdicts go on",
    );
  };
  if (path === "-") return new FlowSink({ target: new FlowStdout(), lostLine, onTrouble });
  // A mistaken path is said at the start, not at the first flow. Nobody waits: the path may be a pipe without a reader.
  open(path, "a", 0o640).then(
    (handle) => handle.close(),
    (error: Error) => onTrouble(error.message, 0),
  );
  return new FlowSink({ target: new FlowFile({ path, maxSize, keep }), lostLine, onTrouble });
}

function memoryKeeper(sources: Sources | KubeSources): MemoryKeeper {
  let before = performance.eventLoopUtilization();
  return new MemoryKeeper({
    release: (thoroughly) => {
      if (thoroughly) sources.putAway();
      collectGarbage(thoroughly);
    },
    trim: trimMemory,
    resident: () => process.memoryUsage.rss(),
    busy: () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, before);
      before = now;
      return utilization;
    },
  });
}

function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve(signal));
  });
}

function workerFiles(): WorkerFiles {
  const find = (name: string): URL => workerFile(name, import.meta.url);
  return { lane: find("lane-worker"), endings: find("events-worker") };
}
