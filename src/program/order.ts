import type { Policy } from "../model/policy.ts";
import { TIERS } from "./layout.ts";

/** The order in which policies are walked: tier, priority (lower first), then namespace, name by code unit. */
export function comparePolicies(a: Policy, b: Policy): number {
  return (
    TIERS.indexOf(a.tier) - TIERS.indexOf(b.tier) ||
    a.priority - b.priority ||
    compareText(a.namespace ?? "", b.namespace ?? "") ||
    compareText(a.name, b.name)
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
