import type { Decision } from "../model/decision.ts";
import type { Workload } from "../model/workload.ts";
import { formatAddress } from "../net/address.ts";
import { describeWorkload, flowIdText, PROTOCOL_NAMES, RECORD_EVENT, WITH_PORTS, withoutQuery } from "./describe.ts";
import type { FlowEvent } from "./event.ts";
import { escapeUnsafe, workloadText } from "./line.ts";

/** What JSON writes as it stands, between quotes. */
const PLAIN = /^[ !#-[\]-~]*$/;

/**
 * Lines of the flow log straight from events: the same text as `formatLine(recordOf(...))`, which is what a line means, at a
 * seventh of the cost: a busy node writes one for each HTTP request, beside the packet lane on the same cores.
 */
export class EventLines {
  readonly #workloads = new WeakMap<Workload, string>();
  #millisecond = Number.NaN;
  #time = "";

  line(event: FlowEvent, workload: Workload | null, run: string): string {
    const { tuple, name, method, path, audit } = event;
    const ports = WITH_PORTS.has(tuple.protocol);
    let line = `{"time":"${this.#timeText(event.time)}","event":"${RECORD_EVENT[event.kind]}","flowId":"${flowIdText(run, event.flowId)}"`;
    if (workload !== null) line += `,"workload":${this.#workloadText(workload)}`;
    line += `,"source":{"address":"${formatAddress(tuple.client)}"${ports ? `,"port":${tuple.clientPort}` : ""}}`;
    line += `,"destination":{${name === null ? "" : `"name":${quoted(name)},`}"address":"${formatAddress(tuple.server)}"`;
    line += `${ports ? `,"port":${tuple.serverPort}` : ""}}`;
    line += `,"protocol":"${PROTOCOL_NAMES.get(tuple.protocol) ?? tuple.protocol}","application":"${event.application}"`;
    if (method !== null) line += `,"method":${quoted(method)}`;
    if (path !== null) line += `,"path":${quoted(withoutQuery(path))}`;
    line += `,${outcome(event.decision)}`;
    return audit === null ? `${line}}` : `${line},"audit":{${outcome(audit)}}}`;
  }

  #timeText(time: number): string {
    const millisecond = Math.trunc(time);
    if (millisecond !== this.#millisecond) {
      this.#millisecond = millisecond;
      this.#time = new Date(time).toISOString();
    }
    return this.#time;
  }

  #workloadText(workload: Workload): string {
    const known = this.#workloads.get(workload);
    if (known !== undefined) return known;
    const text = escapeUnsafe(workloadText(describeWorkload(workload)));
    this.#workloads.set(workload, text);
    return text;
  }
}

function outcome({ action, policy, rule, reason }: Decision): string {
  const by = `${policy === null ? "" : `"policy":${quoted(policy)},`}${rule === null ? "" : `"rule":${quoted(rule)},`}`;
  return `"action":"${action}",${by}"reason":"${reason}"`;
}

function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : escapeUnsafe(JSON.stringify(text));
}
