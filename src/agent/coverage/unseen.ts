import type { Census } from "./census.ts";
import type { Outlet } from "./outlets.ts";

export interface UnseenLimits {
  /** How long packets are counted before they are compared. */
  readonly windowMs: number;
  /** In one window; of fewer nothing is said: neighbour discovery, multicast and what conntrack is told to leave out are packets too. */
  readonly packets: number;
  /** Conntrack has to know one of so many. It knows what its flows have had since they began, which is more. */
  readonly part: number;
  /** Windows in which it does not, before a pod is reported. */
  readonly windows: number;
  /** So long a pod that was seen is not asked about. */
  readonly believedMs: number;
}

export const UNSEEN_LIMITS: UnseenLimits = {
  windowMs: 10_000,
  packets: 100,
  part: 10,
  windows: 3,
  believedMs: 600_000,
};

/** What the agent itself knows of a pod, by its id. */
export interface Signs {
  /** Grows whenever something that it sent was denied, or dropped for a flood: that leaves nothing in conntrack. */
  readonly refused: (pod: number) => number;
  /** Flows that were decided so far: what others drop after us leaves nothing in conntrack either. */
  readonly flows: (pod: number) => number;
}

interface Known {
  received: number;
  /** In the last window. */
  sent: number;
  refused: number;
  flows: number;
  /** Flows of the last window. */
  flowsNow: number;
  /** Windows that spoke against it. */
  against: number;
  believedUntil: number;
}

/**
 * Finds pods whose packets come to the node and do not go through its IP stack: something in front of it (eBPF at the interface, an offload) forwards them,
 * and no rule sees them. What came in by a pod's link is compared with what conntrack knows of the pod. Nothing is counted in the rules
 * themselves: no packet pays for it.
 */
export class UnseenWatch {
  readonly #limits: UnseenLimits;
  #known = new Map<string, Known>();
  #outlets: readonly Outlet[] = [];
  #windowFrom = Number.NEGATIVE_INFINITY;

  constructor(limits: UnseenLimits = UNSEEN_LIMITS) {
    this.#limits = limits;
  }

  /** A window is over: `look` has something to do. `now` here and below: monotonic milliseconds. */
  isDue(now: number): boolean {
    return now - this.#windowFrom >= this.#limits.windowMs;
  }

  /** @returns outlets of which conntrack has to be asked: `judge` them */
  look(outlets: readonly Outlet[], { refused, flows }: Signs, now: number): readonly Outlet[] {
    const { packets, part, believedMs } = this.#limits;
    this.#outlets = outlets;
    this.#windowFrom = now;
    const known = new Map<string, Known>();
    const asked: Outlet[] = [];
    for (const outlet of outlets) {
      const key = keyOf(outlet);
      const refusals = outlet.pods.reduce((sum, pod) => sum + refused(pod), 0);
      const decided = outlet.pods.reduce((sum, pod) => sum + flows(pod), 0);
      const begin = {
        received: outlet.received,
        sent: 0,
        refused: refusals,
        flows: decided,
        flowsNow: 0,
        ...UNDECIDED,
      };
      const one = this.#known.get(key) ?? begin;
      known.set(key, one);
      // Fewer than before: one of its links is gone.
      one.sent = Math.max(0, outlet.received - one.received);
      one.received = outlet.received;
      const refusedNow = refusals - one.refused;
      one.refused = refusals;
      one.flowsNow = Math.max(0, decided - one.flows);
      one.flows = decided;
      if (one.sent < packets || now < one.believedUntil) continue;
      if (one.flowsNow * part >= one.sent) believe(one, now + believedMs);
      // What it sends may be dropped faster than it is told, and leave nothing: such a window says nothing. Of links that are many pods' one
      // pod with a denial now and then must not speak for all.
      else if (outlet.own ? refusedNow <= 0 : refusedNow * part < one.sent) asked.push(outlet);
    }
    this.#known = known;
    return asked;
  }

  /** What conntrack says of the outlets that `look` returned. */
  judge(asked: readonly Outlet[], { forwarded, toNode }: Census, now: number): void {
    const { packets, part, believedMs } = this.#limits;
    for (const outlet of asked) {
      const one = this.#known.get(keyOf(outlet));
      if (one === undefined) continue;
      const sum = (of: ReadonlyMap<number, number>) => outlet.pods.reduce((all, pod) => all + (of.get(pod) ?? 0), 0);
      const sent = one.sent - sum(toNode);
      if (sent < packets) continue;
      if ((sum(forwarded) + one.flowsNow) * part >= sent) believe(one, now + believedMs);
      else one.against++;
    }
  }

  /** Why the pod is not enforced, one line; null: nothing speaks against it. */
  whyUnseen(pod: number): string | null {
    const { windows } = this.#limits;
    const isUnseen = (outlet: Outlet) => (this.#known.get(keyOf(outlet))?.against ?? 0) >= windows;
    const outlet = this.#outlets.find((one) => one.pods.includes(pod) && isUnseen(one));
    if (outlet === undefined) return null;
    return `what comes in by ${describe(outlet)} is not known to the node's connection tracking: something in front of it (eBPF, an offload) forwards it past the rules`;
  }
}

const UNDECIDED = { against: 0, believedUntil: Number.NEGATIVE_INFINITY } as const;

function believe(one: Known, until: number): void {
  one.against = 0;
  one.believedUntil = until;
}

/** Another pod behind an interface of the same name is another outlet; of links that are many pods' the pods come and go. */
function keyOf({ name, own, pods }: Outlet): string {
  return own ? `${name} ${pods[0]}` : name;
}

function describe({ name, own }: Outlet): string {
  return own ? `\`${name}\`` : name;
}
