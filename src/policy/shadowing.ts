import type { Destination, Rule } from "../model/policy.ts";
import { type Cidr, cidrCovers } from "../net/cidr.ts";
import { patternCovers } from "../net/pattern.ts";
import { portsContain, portsCover, TCP, UDP } from "../net/ports.ts";

const DNS_PORT = 53;
/** Of names, ranges and ports with each other, for the rules of one policy: some ten milliseconds. */
const MOST_COMPARISONS = 1_000_000;

/** How many comparisons may still be made. Their number grows with the square of what somebody writes, and others wait for them. */
export class Effort {
  #left: number;

  constructor(most: number) {
    this.#left = most;
  }

  get left(): number {
    return this.#left;
  }

  /** Used up: an answer that was found since may be wrong. */
  get spent(): boolean {
    return this.#left <= 0;
  }

  /** So many were made. */
  take(count: number): void {
    this.#left -= count;
  }

  /** @returns false: no more may be made */
  spend(): boolean {
    return --this.#left > 0;
  }
}

export interface Shadows {
  /** For each rule the earlier one that decides every flow it could decide, or null. */
  readonly by: readonly (Rule | null)[];
  /** False: there is too much to compare, so more rules may be shadowed. */
  readonly complete: boolean;
}

/**
 * Rules of one policy that never decide. Sound, not complete: it compares entry with entry, so a rule that two others cover together is
 * not found.
 */
export function findShadows(rules: readonly Rule[], most = MOST_COMPARISONS): Shadows {
  const effort = new Effort(most);
  const by = rules.map(
    (rule, index) => rules.slice(0, index).find((earlier) => ruleCovers(earlier, rule, effort)) ?? null,
  );
  return { by, complete: !effort.spent };
}

/**
 * `outer`, where it is reached, decides every flow that `inner` could decide. False also when the effort is spent. `strictly`: with no regard to what
 * is surely meant (see `leavesPort53`).
 */
export function ruleCovers(outer: Rule, inner: Rule, effort: Effort, strictly = false): boolean {
  const entries = inner.to ?? [EVERYWHERE];
  const unnamed = strictly && inner.action !== "Allow" && outer.action === "Allow";
  const openPorts = unnamed && (outer.to ?? [EVERYWHERE]).some(({ ports }) => ports === null);
  if (openPorts && entries.some(({ ports }) => ports === null)) return false;
  const covers =
    outer.to === null
      ? !entries.some((entry) => leavesPort53(outer, EVERYWHERE, entry))
      : entries.every((entry) => outer.to!.some((candidate) => entryCovers(outer, candidate, inner, entry, effort)));
  return covers && effort.spend();
}

const EVERYWHERE: Destination = {
  domains: null,
  cidrs: null,
  except: [],
  group: null,
  ports: null,
  http: null,
  tls: null,
};

function entryCovers(outer: Rule, a: Destination, inner: Rule, b: Destination, effort: Effort): boolean {
  return (
    effort.spend() &&
    agreesOnUncertainty(outer, a, inner) &&
    !leavesPort53(outer, a, b) &&
    namesCover(a, b, effort) &&
    rangesCover(a, b, effort) &&
    portListCovers(a, b, effort) &&
    applicationCovers(a, b)
  );
}

/**
 * A Deny by name says yes on binding or evidence and, unless told to continue, on a hidden name; the other actions need binding and
 * evidence. So what an Allow by name leaves over may still meet a Deny below it.
 */
function agreesOnUncertainty(outer: Rule, a: Destination, inner: Rule): boolean {
  const looksInside = a.domains !== null || a.group !== null || a.http !== null || a.tls !== null;
  if (!looksInside || inner.action !== "Deny") return true;
  return outer.action === "Deny" && (outer.whenHidden === "Deny" || inner.whenHidden === "Continue");
}

/**
 * Port 53 of a server that is no trusted resolver is opened only by an Allow that names ports; another leaves it to a rule
 * below that names it. One that names no ports either is still surely not meant.
 */
function leavesPort53(outer: Rule, a: Destination, b: Destination): boolean {
  if (outer.action !== "Allow" || a.ports !== null || b.ports === null) return false;
  return b.ports.some((range) => portsContain(range, TCP, DNS_PORT) || portsContain(range, UDP, DNS_PORT));
}

function namesCover(a: Destination, b: Destination, effort: Effort): boolean {
  if (a.group !== null && a.group !== b.group) return false;
  if (a.domains === null) return true;
  return (
    b.domains?.every((inner) => a.domains!.some((outer) => effort.spend() && patternCovers(outer, inner))) ?? false
  );
}

function rangesCover(a: Destination, b: Destination, effort: Effort): boolean {
  if (a.cidrs === null) return true;
  if (b.cidrs === null) return false;
  const covered = (range: Cidr, by: readonly Cidr[]) => by.some((outer) => effort.spend() && cidrCovers(outer, range));
  const holes = a.except.filter((hole) =>
    b.cidrs!.some((range) => !effort.spend() || cidrCovers(range, hole) || cidrCovers(hole, range)),
  );
  return b.cidrs.every((range) => covered(range, a.cidrs!)) && holes.every((hole) => covered(hole, b.except));
}

function portListCovers(a: Destination, b: Destination, effort: Effort): boolean {
  if (a.ports === null) return true;
  return b.ports?.every((inner) => a.ports!.some((outer) => effort.spend() && portsCover(outer, inner))) ?? false;
}

/** HTTP and TLS conditions are only compared for being the same. */
function applicationCovers(a: Destination, b: Destination): boolean {
  const http = a.http === null || JSON.stringify(a.http) === JSON.stringify(b.http);
  return http && (a.tls === null || JSON.stringify(a.tls) === JSON.stringify(b.tls));
}
