import type { Destination, Rule } from "../model/policy.ts";
import { type Cidr, cidrCovers } from "../net/cidr.ts";
import { patternCovers } from "../net/pattern.ts";
import { portsContain, portsCover, TCP, UDP } from "../net/ports.ts";

const DNS_PORT = 53;

/**
 * For each rule the earlier one that decides every flow it could decide, or null. Sound, not complete: it compares entry with
 * entry, so a rule that two others cover together is not found.
 */
export function findShadows(rules: readonly Rule[]): readonly (Rule | null)[] {
  return rules.map((rule, index) => rules.slice(0, index).find((earlier) => ruleCovers(earlier, rule)) ?? null);
}

function ruleCovers(outer: Rule, inner: Rule): boolean {
  const entries = inner.to ?? [EVERYWHERE];
  if (outer.to === null) return !entries.some((entry) => leavesPort53(outer, EVERYWHERE, entry));
  return entries.every((entry) => outer.to!.some((candidate) => entryCovers(outer, candidate, inner, entry)));
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

function entryCovers(outer: Rule, a: Destination, inner: Rule, b: Destination): boolean {
  return (
    agreesOnUncertainty(outer, a, inner) &&
    !leavesPort53(outer, a, b) &&
    namesCover(a, b) &&
    rangesCover(a, b) &&
    portListCovers(a, b) &&
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

function namesCover(a: Destination, b: Destination): boolean {
  if (a.group !== null && a.group !== b.group) return false;
  if (a.domains === null) return true;
  return b.domains?.every((inner) => a.domains!.some((outer) => patternCovers(outer, inner))) ?? false;
}

function rangesCover(a: Destination, b: Destination): boolean {
  if (a.cidrs === null) return true;
  if (b.cidrs === null) return false;
  const covered = (range: Cidr, by: readonly Cidr[]) => by.some((outer) => cidrCovers(outer, range));
  const holes = a.except.filter((hole) => b.cidrs!.some((range) => cidrCovers(range, hole) || cidrCovers(hole, range)));
  return b.cidrs.every((range) => covered(range, a.cidrs!)) && holes.every((hole) => covered(hole, b.except));
}

function portListCovers(a: Destination, b: Destination): boolean {
  if (a.ports === null) return true;
  return b.ports?.every((inner) => a.ports!.some((outer) => portsCover(outer, inner))) ?? false;
}

/** HTTP and TLS conditions are only compared for being the same. */
function applicationCovers(a: Destination, b: Destination): boolean {
  const http = a.http === null || JSON.stringify(a.http) === JSON.stringify(b.http);
  return http && (a.tls === null || JSON.stringify(a.tls) === JSON.stringify(b.tls));
}
