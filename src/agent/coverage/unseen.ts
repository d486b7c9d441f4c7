import type { Census } from "./ledger.ts";
import type { Outlet } from "./outlets.ts";

export interface UnseenLimits {
  /** How long packets are counted before they are compared. */
  readonly windowMs: number;
  /** In one window; of fewer nothing is said: neighbour discovery, multicast and what conntrack is told to leave out are packets too. */
  readonly packets: number;
  /** Conntrack has to know one of so many. */
  readonly part: number;
  /** Windows in which it does not, before a pod is reported; the first that is much begins the count. */
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

/** What stood where when conntrack was last walked over: from here on packets are compared. */
interface Base {
  readonly received: number;
  readonly refused: number;
  readonly flows: number;
}

interface Known {
  received: number;
  refused: number;
  flows: number;
  /** Windows that spoke against it. */
  against: number;
  believedUntil: number;
  base: Base | null;
  /** Windows since in which it sent little. */
  idle: number;
}

/** So many windows in which a pod sends little it stays watched. */
const MOST_IDLE = 6;

/**
 * Finds pods whose packets come to the node and do not go through its IP stack: something in front of it (eBPF at the interface, an offload) forwards them,
 * and no rule sees them. What came in by a pod's link is compared with what conntrack knows of the pod, from one walk over conntrack to the next. Nothing is
 * counted in the rules themselves: no packet pays for it.
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
  look(outlets: readonly Outlet[], signs: Signs, now: number): readonly Outlet[] {
    this.#outlets = outlets;
    this.#windowFrom = now;
    const known = new Map<string, Known>();
    const asked: Outlet[] = [];
    for (const outlet of outlets) {
      const key = keyOf(outlet);
      const state = stateOf(outlet, signs);
      const one = this.#known.get(key) ?? { ...state, ...UNDECIDED };
      known.set(key, one);
      if (this.#isSuspect(one, outlet, state, now)) asked.push(outlet);
      Object.assign(one, state);
    }
    this.#known = known;
    return asked;
  }

  /** Pods of which it matters what conntrack knows until the next `judge`. */
  watched(): ReadonlySet<number> {
    return new Set(this.#outlets.flatMap((one) => (this.#known.get(keyOf(one))?.base == null ? [] : one.pods)));
  }

  /**
   * What conntrack says of the outlets that `look` returned, since this was called last. `after`: all outlets when that was counted. `whole`: no news of flows
   * that ended was lost since; else it says nothing.
   */
  judge(
    asked: readonly Outlet[],
    census: Census,
    after: readonly Outlet[],
    signs: Signs,
    whole: boolean,
    now: number,
  ): void {
    const looked = new Map(asked.map((outlet) => [keyOf(outlet), outlet]));
    for (const outlet of after) {
      const key = keyOf(outlet);
      const one = this.#known.get(key);
      const then = looked.get(key);
      if (one === undefined || (then === undefined && one.base === null)) continue;
      const { base } = one;
      // Also of those that were not asked about: what was counted of them is over, too.
      one.base = stateOf(outlet, signs);
      if (then !== undefined && base !== null && whole) this.#compare(one, then, base, census, now);
    }
  }

  /** Between `base` and what the outlet was when it was looked at. Flows and denials count until now: too many, which speaks for the pod. */
  #compare(one: Known, { own, pods, received }: Outlet, base: Base, { forwarded, toNode }: Census, now: number): void {
    const { packets, part, believedMs } = this.#limits;
    const sum = (of: ReadonlyMap<number, number>) => pods.reduce((all, pod) => all + (of.get(pod) ?? 0), 0);
    const { refused, flows } = one.base ?? base;
    const sent = received - base.received - sum(toNode);
    if (sent < packets || isRefused(own, refused - base.refused, sent, part)) return;
    if ((sum(forwarded) + flows - base.flows) * part >= sent) believe(one, now + believedMs);
    else one.against++;
  }

  #isSuspect(one: Known, { own }: Outlet, { received, refused, flows }: Base, now: number): boolean {
    const { packets, part, believedMs } = this.#limits;
    // Fewer than before: one of its links is gone.
    const sent = Math.max(0, received - one.received);
    if (isRefused(own, refused - one.refused, sent, part)) {
      one.base = null;
      return false;
    }
    if (sent < packets || now < one.believedUntil) {
      if (++one.idle > MOST_IDLE) one.base = null;
      return false;
    }
    one.idle = 0;
    if ((flows - one.flows) * part < sent) return true;
    believe(one, now + believedMs);
    return false;
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

const UNDECIDED = { against: 0, believedUntil: Number.NEGATIVE_INFINITY, base: null, idle: 0 } as const;

function stateOf({ pods, received }: Outlet, { refused, flows }: Signs): Base {
  const sum = (of: (pod: number) => number) => pods.reduce((all, pod) => all + of(pod), 0);
  return { received, refused: sum(refused), flows: sum(flows) };
}

/**
 * What it sends may be dropped faster than it is told, and leave nothing: such a window says nothing. Of links that are many pods' one pod with a denial
 * now and then must not speak for all.
 */
function isRefused(own: boolean, refusals: number, sent: number, part: number): boolean {
  return own ? refusals > 0 : refusals * part >= sent && refusals > 0;
}

function believe(one: Known, until: number): void {
  one.against = 0;
  one.believedUntil = until;
  one.base = null;
}

/** Another pod behind an interface of the same name is another outlet; of links that are many pods' the pods come and go. */
function keyOf({ name, own, pods }: Outlet): string {
  return own ? `${name} ${pods[0]}` : name;
}

function describe({ name, own }: Outlet): string {
  return own ? `\`${name}\`` : name;
}
