import type { FlowTuple } from "../flow/event.ts";
import { ANSWER } from "../model/verdict.ts";
import { cidrContains } from "../net/cidr.ts";
import type { QueuedPacket } from "./contract.ts";
import type { FlowKey } from "./flow-table.ts";
import { deny, firstFacts, record } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";
import { UNKNOWN_HELD } from "./limits.ts";
import { tupleOf } from "./lone-flow.ts";

interface Waiting {
  readonly packet: QueuedPacket;
  readonly tuple: FlowTuple;
  readonly source: string;
  readonly until: number;
}

const PER_SOURCE = 16;
const NOBODY = -1;

/**
 * Packets of a pod that started a moment ago: its address is in the pod ranges, but the next Program is not here yet.
 * They wait, because letting them pass would be a hole at every start of a pod (EVASION 56) and refusing them would break
 * every start. All unknown sources share one bound, and each has a smaller one of its own.
 */
export class UnknownSources {
  #waiting: Waiting[] = [];
  #bySource = new Map<string, number>();

  get nextDeadline(): number {
    return this.#waiting.length > 0 ? this.#waiting[0]!.until : Infinity;
  }

  hold(lane: Lane, key: FlowKey, arrival: Arrival, queued: QueuedPacket, now: number): void {
    lane.counters.unknownSources++;
    const tuple = tupleOf(key, arrival);
    const { podCIDRs, podInterfaces } = lane.config;
    // From outside the ranges the rules ask about what comes by a pod's own interface.
    const starting = podInterfaces.length > 0 || podCIDRs.some((cidr) => cidrContains(cidr, tuple.client));
    if (!starting || arrival.fromServer) {
      refuseUnknown(lane, queued.id, tuple, arrival.fromServer, now);
      return;
    }
    const source = `${key.c0}.${key.c1}.${key.c2}.${key.c3}`;
    const count = this.#bySource.get(source) ?? 0;
    if (this.#waiting.length >= UNKNOWN_HELD || count >= PER_SOURCE) {
      lane.counters.limitReached++;
      lane.drop(queued.id);
      return;
    }
    lane.counters.held++;
    this.#bySource.set(source, count + 1);
    const bytes = queued.bytes.slice(queued.start, queued.end);
    const packet = { ...queued, bytes, start: 0, end: bytes.length };
    this.#waiting.push({ packet, tuple, source, until: now + lane.config.limits.unknownSourceHold });
  }

  /** Takes everything that waits, to be judged again under a new Program. */
  takeAll(): QueuedPacket[] {
    const packets = this.#waiting.map((waiting) => waiting.packet);
    this.#waiting = [];
    this.#bySource.clear();
    return packets;
  }

  /** Refuses what has waited long enough. */
  expire(lane: Lane, now: number): void {
    let count = 0;
    while (count < this.#waiting.length && this.#waiting[count]!.until <= now) {
      const { packet, tuple, source } = this.#waiting[count++]!;
      const left = (this.#bySource.get(source) ?? 1) - 1;
      if (left > 0) this.#bySource.set(source, left);
      else this.#bySource.delete(source);
      refuseUnknown(lane, packet.id, tuple, false, now);
    }
    this.#waiting.splice(0, count);
  }
}

function refuseUnknown(lane: Lane, packetId: number, tuple: FlowTuple, fromServer: boolean, now: number): void {
  if (lane.use.mayRecord(NOBODY, now)) {
    const facts = firstFacts(lane, NOBODY, tuple.server, tuple.serverPort, tuple.protocol, now);
    const flow = { id: lane.newFlowId(), workloadId: NOBODY, tuple, cls: -1, facts };
    const rest = { classified: true, malformed: false, resolving: 0, resolveUntil: Infinity, resolved: [] };
    record(lane, { ...flow, ...rest }, "flow", deny("UnknownWorkload"), null, "rejected", now);
  }
  if (fromServer) lane.drop(packetId);
  else lane.answer(packetId, ANSWER.reject);
}
