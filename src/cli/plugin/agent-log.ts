import { parseLine } from "../../flow/line.ts";
import type { FlowRecord } from "../../flow/record.ts";
import { KubeError } from "../../kube/client.ts";
import { LineCutter } from "../flow-lines.ts";
import { AGENT_CONTAINER } from "./agent-pods.ts";
import type { LiveCluster } from "./live-cluster.ts";

export interface LogRequest {
  /** The agent's pod. */
  readonly pod: string;
  /** Only what was written since, in milliseconds of Unix time. */
  readonly since: number;
  /** At most so many lines, the newest; null: no bound. */
  readonly tailLines: number | null;
  /** Goes on for as long as the agent runs. */
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

export interface LogListener {
  /** With a promise nothing more is read until it is kept. */
  onRecord(record: FlowRecord): void | Promise<void>;
  /** A line that is neither a record nor the agent's own log. */
  onBroken(): void;
}

const SILENCE_MS = 30_000;
/** How the lines of the agent's own log begin; no flow record does. */
const OWN_LOG = '{"level":';

/**
 * The flow records of an agent that writes them to its standard output, from the log that the kubelet keeps of it. Rejects with a KubeError.
 * @returns lines read, of whatever kind
 */
export async function readAgentLog(cluster: LiveCluster, request: LogRequest, listener: LogListener): Promise<number> {
  const { pod, since, tailLines, follow, signal } = request;
  const cutter = new LineCutter();
  let lines = 0;
  const take = (line: string): void | Promise<void> => {
    lines++;
    if (line.startsWith(OWN_LOG)) return;
    const record = parseLine(line);
    if (record !== null) return listener.onRecord(record);
    listener.onBroken();
  };
  const query = new URLSearchParams({
    container: AGENT_CONTAINER,
    sinceTime: new Date(since).toISOString().replace(/\.\d+/, ""),
    ...(tailLines === null ? {} : { tailLines: String(tailLines) }),
    ...(follow ? { follow: "true" } : {}),
  });
  await cluster.client.read({
    path: `/api/v1/namespaces/${cluster.sallyport}/pods/${pod}/log?${query}`,
    accept: "*/*",
    signal: AbortSignal.any([signal, cluster.signal]),
    silenceMs: follow ? Number.POSITIVE_INFINITY : SILENCE_MS,
    onChunk: (chunk) => {
      const waits: Promise<void>[] = [];
      for (const line of cutter.push(chunk)) {
        const wait = take(line);
        if (wait !== undefined) waits.push(wait);
      }
      return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined);
    },
  });
  for (const line of cutter.end()) await take(line);
  return lines;
}

/** What ends all reading: a right that is missing for one agent is missing for all. */
export function endsAll(error: unknown): boolean {
  return !(error instanceof KubeError) || error.status === 401 || error.status === 403;
}
