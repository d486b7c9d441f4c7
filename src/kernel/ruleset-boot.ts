import { type RulesetSpec, renderRuleset } from "./ruleset.ts";

/**
 * The rules that a machine can load before its first pod runs, as input of `nft -f`: the same table without what holds for this boot only. No address is
 * known to be a pod's whom nothing is denied, for after a boot it may be another's: so all that leaves a pod waits for an agent, but for what
 * stays inside the cluster. "" where nothing would be closed: the rules fail open, or neither a pod range nor a link to pods is known.
 */
export function renderBootRuleset(spec: RulesetSpec): string {
  const closes = spec.sets.podRanges.length > 0 || spec.podLinks.length > 0;
  if (spec.failMode === "Open" || !closes) return "";
  const { podRanges, inside, internalEndpoints, resolvers } = spec.sets;
  const nobody = { workloads: [], observed: [], podInterfaces: [], bypass: [], asideUntil: 0 };
  const sets = { podRanges, inside, internalEndpoints, resolvers, ...nobody };
  return `# Written by the agent of Sallyport: closes the pods of this node until it is there again.\n${renderRuleset({ ...spec, other: false, hostPods: false, sets })}`;
}
