import { leave } from "./flow-life.ts";
import type { Lane } from "./lane.ts";
import type { TcpFlow } from "./tcp-flow.ts";

/** Of one pod, silent at a time: a client has a few connections to its resolvers. */
const MOST = 64;
/** `silentSince` of one that is kept: nobody is asked about it again until it has spoken. */
export const KEPT = -1;

/**
 * DNS over TCP outside conntrack (`NOTRACK`: a cache of the node). Nobody tells how such a connection ends, nor that it lives, so the silent ones are kept
 * for as long as there is room: those that fell silent last, of each pod. That opens nothing: each of their messages is judged, whoever sends it when.
 */
export class UntrackedFlows {
  /** By workload, those that fell silent last by last. */
  readonly #ofPod = new Map<number, Set<TcpFlow>>();

  /** Conntrack does not know this flow; it stays, where it may be one of these, and another may have to go. False: it is none. */
  keep(lane: Lane, flow: TcpFlow): boolean {
    if (!flow.untracked && !mayBe(flow)) return false;
    flow.untracked = true;
    flow.silentSince = KEPT;
    let own = this.#ofPod.get(flow.workloadId);
    if (own === undefined) {
      own = new Set();
      this.#ofPod.set(flow.workloadId, own);
    }
    own.delete(flow);
    own.add(flow);
    if (own.size <= MOST) return true;
    for (const oldest of own) {
      if (oldest.silentSince !== KEPT) continue;
      leave(lane, oldest, 0);
      break;
    }
    return true;
  }

  /** The flow is gone. */
  forget(flow: TcpFlow): void {
    const own = this.#ofPod.get(flow.workloadId);
    if (own?.delete(flow) && own.size === 0) this.#ofPod.delete(flow.workloadId);
  }
}

/** Both ends have spoken, and neither has said that it ends. */
function mayBe({ phase, serverKnown, finAt, dns }: TcpFlow): boolean {
  return phase === "dns" && serverKnown && finAt < 0 && dns?.serverEnds === false;
}
