import type { Destination, Policy, Rule } from "../model/policy.ts";
import type { Address } from "../net/address.ts";
import { cidrContains } from "../net/cidr.ts";
import { portsContain, TCP, UDP } from "../net/ports.ts";
import { FIRST_OWN_TIER, TIERS } from "./layout.ts";

const DNS_PORT = 53;
const STANDARD_TIERS = TIERS.slice(0, FIRST_OWN_TIER);

/**
 * Whether the standard policies of a class let its pods ask some trusted resolver. Where they do not, DNS would be a way out that a network
 * which enforces them does not leave open. `policies`: those that select the class, in the order they are walked. Peers inside the cluster
 * may be the resolver's pods: of them the most open is assumed.
 */
export function mayAskResolvers(policies: readonly Policy[], resolvers: readonly Address[]): boolean {
  // Rules are read once: a packed policy makes them for each who asks.
  const standard = policies
    .filter(({ tier }) => STANDARD_TIERS.includes(tier))
    .map(({ tier, rules }) => ({ tier, rules }));
  if (resolvers.length === 0 || standard.length === 0) return true;
  return resolvers.some((address) => [UDP, TCP].some((protocol) => mayReach(standard, 0, address, protocol)));
}

type Asked = Pick<Policy, "tier" | "rules">;

function mayReach(policies: readonly Asked[], from: number, address: Address, protocol: number): boolean {
  const tier = STANDARD_TIERS[from];
  if (tier === undefined) return true;
  for (const policy of policies) {
    if (policy.tier !== tier) continue;
    for (const rule of policy.rules) {
      const match = matchOf(rule, address, protocol);
      if (match === "no") continue;
      if (rule.action === "Accept") return true;
      if (rule.action === "Deny" && match === "yes") return false;
      if (rule.action !== "Pass") continue;
      const behind = mayReach(policies, from + 1, address, protocol);
      if (behind || match === "yes") return behind;
    }
  }
  return mayReach(policies, from + 1, address, protocol);
}

type Match = "yes" | "no" | "maybe";

function matchOf({ to }: Rule, address: Address, protocol: number): Match {
  if (to === null) return "yes";
  const answers = to.map((entry) => entryMatch(entry, address, protocol));
  return answers.find((answer) => answer === "yes") ?? answers.find((answer) => answer === "maybe") ?? "no";
}

/** A resolver is asked by its address, whatever it is called. */
function entryMatch({ domains, cidrs, except, ports }: Destination, address: Address, protocol: number): Match {
  if (domains !== null) return "no";
  if (ports !== null && !ports.some((range) => portsContain(range, protocol, DNS_PORT))) return "no";
  if (cidrs === null) return "yes";
  if (cidrs.length === 0) return "maybe";
  const holds = (range: (typeof except)[number]) => cidrContains(range, address);
  return cidrs.some(holds) && !except.some(holds) ? "yes" : "no";
}
