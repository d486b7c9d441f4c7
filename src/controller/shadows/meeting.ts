import type { Destination, DestinationGroup, Rule } from "../../model/policy.ts";
import { type Cidr, cidrCovers } from "../../net/cidr.ts";
import { type DomainPattern, patternCovers } from "../../net/pattern.ts";
import { ANY_PROTOCOL, type PortRange } from "../../net/ports.ts";
import type { Effort } from "../../policy/shadowing.ts";

export type Groups = ReadonlyMap<string, DestinationGroup>;

/**
 * Whether some flow may be matched by both rules, of which `other` is a Next or a Pass: false only where none can be. Two addresses are one or not, two
 * ports likewise. Names are told apart only where a flow has to carry its name, and has one: on ports 80 and 443, and for rules that want to see it.
 * True also when the effort is spent.
 */
export function mayMeet(rule: Rule, other: Rule, groups: Groups, effort: Effort): boolean {
  if (rule.to === null || other.to === null) return true;
  const meeting = rule.to.some((a) =>
    other.to!.some((b) => {
      if (!effort.spend()) return true;
      return (
        portsMeet(a, b) && rangesMeet(a, b, effort) && !(rule.action !== "Deny" && namesApart(a, b, groups, effort))
      );
    }),
  );
  return meeting || effort.spent;
}

function portsMeet(a: Destination, b: Destination): boolean {
  if (a.ports === null || b.ports === null) return true;
  return a.ports.some((one) => b.ports!.some((other) => overlap(one, other)));
}

function overlap(one: PortRange, other: PortRange): boolean {
  const any = one.protocol === ANY_PROTOCOL || other.protocol === ANY_PROTOCOL;
  return (any || one.protocol === other.protocol) && one.from <= other.to && other.from <= one.to;
}

function rangesMeet(a: Destination, b: Destination, effort: Effort): boolean {
  if (a.cidrs === null || b.cidrs === null) return true;
  const meets = (one: Cidr, other: Cidr) => !effort.spend() || cidrCovers(one, other) || cidrCovers(other, one);
  return a.cidrs.some((one) => b.cidrs!.some((other) => meets(one, other)));
}

/** Both want the name in the flow, and no name is one of both. */
function namesApart(a: Destination, b: Destination, groups: Groups, effort: Effort): boolean {
  const names = namesOf(a, groups);
  const others = namesOf(b, groups);
  if (names === null || others === null || !wantsName(a)) return false;
  return names.every((one) => others.every((other) => effort.spend() && apart(one, other)));
}

/** Null: it may match without a name. */
function namesOf({ domains, group }: Destination, groups: Groups): readonly DomainPattern[] | null {
  if (domains !== null) return domains;
  const listed = group === null ? undefined : groups.get(group);
  return listed === undefined || listed.cidrs.length > 0 ? null : listed.domains;
}

/** DESIGN §3: evidence is required there, of every rule. */
function wantsName({ ports }: Destination): boolean {
  return ports?.every(({ from, to }) => from === to && (from === 80 || from === 443)) ?? false;
}

function apart(one: DomainPattern, other: DomainPattern): boolean {
  return !patternCovers(one, other) && !patternCovers(other, one);
}
