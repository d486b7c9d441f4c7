import type { FlowRecord } from "../../flow/record.ts";
import { fields } from "../../kube/object.ts";
import { EXIT, UsageError } from "../failure.ts";
import { flowFilter, parseSince } from "../flow-filter.ts";
import { FlowSummarizer, summaryText } from "../flow-summary.ts";
import { flowHeading, recordText } from "../flow-text.ts";
import { write } from "../flows.ts";
import { printable } from "../output.ts";
import { endsAll, readAgentLog } from "./agent-log.ts";
import type { AgentPod } from "./agent-pods.ts";
import { agentsWithLogs } from "./agents-with-logs.ts";
import { FlowFollower } from "./flow-follower.ts";
import { type ClusterOptions, LiveCluster } from "./live-cluster.ts";
import { NewestRecords } from "./newest.ts";
import { type PluginFormat, printPlugin } from "./plugin-output.ts";
import { type PodName, podName } from "./pod-name.ts";
import { inWords } from "./trouble.ts";

export interface FlowsOptions extends ClusterOptions {
  readonly to?: string;
  readonly action?: string;
  readonly denied?: boolean;
  readonly since?: string;
  readonly tail?: number;
  readonly node?: string;
  readonly follow?: boolean;
  readonly summary?: boolean;
  readonly output: PluginFormat;
}

const AT_ONCE = 8;
/** Of one agent; about 50 MB. */
const MOST_LINES = 100_000;
const USUAL_SINCE = "1h";
const USUAL_TAIL = 200;

/** Prints what the agents' flow logs say: of a pod, a namespace or all. */
export async function liveFlows(pod: string | undefined, options: FlowsOptions): Promise<void> {
  checkFlowsOptions(options);
  const cluster = LiveCluster.open(options);
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  try {
    const name = pod === undefined ? null : podName(pod, options.namespace, cluster.namespace);
    const keep = flowFilter(filterOf(name, cluster, options), Date.now());
    const node = options.node ?? (name === null ? null : await nodeOf(cluster, name));
    if (options.follow === true) {
      const since = options.since === undefined ? Date.now() : parseSince(options.since, Date.now());
      await new FlowFollower({
        cluster,
        node,
        since,
        keep,
        print: printer(options.output),
        warn,
        signal: stop.signal,
      }).run();
    } else await printPast(cluster, node, keep, options, stop.signal);
    process.exitCode = EXIT.ok;
  } catch (error) {
    if (!stop.signal.aborted) throw error instanceof UsageError ? error : inWords(error, logPath(cluster), cluster);
  } finally {
    cluster.close();
  }
}

function checkFlowsOptions({ follow, summary, tail, denied, action }: FlowsOptions): void {
  if (follow === true && summary === true)
    throw new UsageError("`--follow` has no end to sum up: leave `--summary` out");
  if (follow === true && tail !== undefined)
    throw new UsageError("`--follow` begins now, or at `--since`: leave `--tail` out");
  if (denied === true && action !== undefined) throw new UsageError("`--denied` is `--action Deny`: leave one out");
}

function filterOf(name: PodName | null, cluster: LiveCluster, options: FlowsOptions) {
  const { to, denied, action = denied === true ? "Deny" : undefined } = options;
  const from = name !== null ? `${name.namespace}/${name.name}` : options.allNamespaces ? undefined : cluster.namespace;
  return {
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(action === undefined ? {} : { action }),
    ...(options.since === undefined ? {} : { since: options.since }),
  };
}

/** Null: not known, so all are asked. Flows of a pod that is gone are still in a log. */
async function nodeOf(cluster: LiveCluster, { namespace, name }: PodName): Promise<string | null> {
  const about = `pod \`${namespace}/${name}\``;
  const pod = await cluster.glance(
    `/api/v1/namespaces/${namespace}/pods/${name}`,
    ({ why }) => warn(`where ${about} runs may not be looked at (${why}): all nodes are asked`),
    about,
  );
  const { nodeName } = fields(pod?.["spec"]);
  if (typeof nodeName === "string") return nodeName;
  if (pod === null) warn(`${about} is not there now: all nodes are asked`);
  return null;
}

async function printPast(
  cluster: LiveCluster,
  node: string | null,
  keep: (record: FlowRecord) => boolean,
  options: FlowsOptions,
  signal: AbortSignal,
): Promise<void> {
  const newest = new NewestRecords(options.tail ?? USUAL_TAIL);
  const summary = options.summary === true ? new FlowSummarizer() : null;
  const take = (record: FlowRecord): void => {
    if (keep(record)) (summary ?? newest).add(record);
  };
  const since = parseSince(options.since ?? USUAL_SINCE, Date.now());
  await readAll(cluster, await agentsWithLogs(cluster, node, warn), { since, take, signal });
  if (summary !== null) {
    const result = summary.finish();
    return printPlugin(options.output, result, () => summaryText(result));
  }
  const print = printer(options.output);
  await print(newest.records);
  if (newest.leftOut > 0)
    warn(`${newest.leftOut} older records are not shown: \`--tail\` or \`--since\` shows more or less`);
  else if (newest.records.length === 0) warn(`no such flows since ${options.since ?? USUAL_SINCE}`);
}

/** Several logs at a time. @throws KubeError where none may be read; one that cannot is said */
async function readAll(
  cluster: LiveCluster,
  agents: readonly AgentPod[],
  { since, take, signal }: { since: number; take: (record: FlowRecord) => void; signal: AbortSignal },
): Promise<void> {
  const waiting = [...agents];
  let broken = 0;
  let failed = 0;
  const listener = { onRecord: take, onBroken: () => void broken++ };
  const one = async (): Promise<void> => {
    for (let agent = waiting.pop(); agent !== undefined; agent = waiting.pop()) {
      const request = { pod: agent.name, since, tailLines: MOST_LINES, follow: false, signal };
      try {
        const lines = await readAgentLog(cluster, request, listener);
        if (lines >= MOST_LINES) warn(`node \`${agent.node}\`: only the newest ${lines} lines of its log were read`);
      } catch (error) {
        if (endsAll(error) || signal.aborted) throw error;
        failed++;
        warn(`node \`${agent.node}\`: its log cannot be read (${(error as Error).message})`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  if (broken > 0) warn(`${broken} ${broken === 1 ? "line is" : "lines are"} no flow record`);
  if (failed > 0 && failed === agents.length) throw new UsageError("no agent's log could be read");
}

function printer(output: PluginFormat): (records: readonly FlowRecord[]) => Promise<void> {
  let heading = flowHeading(output);
  return async (records) => {
    for (const record of records) {
      await write(heading + (await recordText(record, output)));
      heading = "";
    }
  };
}

function warn(text: string): void {
  process.stderr.write(`sallyport: ${printable(text)}\n`);
}

function logPath({ sallyport }: LiveCluster): string {
  return `/api/v1/namespaces/${sallyport}/pods/agent/log`;
}
