import { parseAddress } from "./address.ts";
import { type DnsName, parseDnsName } from "./name.ts";

/** `exact`: that name. `below`: every name below it, any depth, not the name itself (`*.name`). `any`: every name (`*`). */
export type DomainPattern =
  | { readonly kind: "exact"; readonly name: DnsName }
  | { readonly kind: "below"; readonly name: DnsName }
  | { readonly kind: "any" };

export type DomainPatternResult =
  | { readonly ok: true; readonly pattern: DomainPattern }
  | { readonly ok: false; readonly problem: string; readonly suggestion?: string };

/** Reads a pattern as a document must spell it. `problem` is one line; `suggestion` is the right spelling, where there is one. */
export function parseDomainPattern(text: string): DomainPatternResult {
  if (text === "*") return { ok: true, pattern: { kind: "any" } };
  const below = text.startsWith("*.");
  const rest = below ? text.slice(2) : text;
  const wrongPlace = rest.includes("*") ? starProblem(text) : null;
  if (wrongPlace !== null) return wrongPlace;
  if (!below && (parseAddress(text) !== null || /^[0-9a-fA-F.:]+\/[0-9]+$/.test(text))) {
    return { ok: false, problem: `\`${text}\` is an address, not a name: use \`cidrs\`` };
  }
  const result = parseDnsName(rest);
  if (result.ok) return { ok: true, pattern: { kind: below ? "below" : "exact", name: result.name } };
  if (result.suggestion === undefined) return result;
  const suggestion = below ? `*.${result.suggestion}` : result.suggestion;
  return { ok: false, problem: `\`${text}\` is not in canonical form: write \`${suggestion}\``, suggestion };
}

/** `foo*.x`, `a.*.x`, `*foo.x`: a `*` stands for whole labels at the front only. */
function starProblem(text: string): DomainPatternResult {
  const labels = text.split(".");
  const last = labels.findLastIndex((label) => label.includes("*"));
  const rest = labels.slice(last + 1).join(".");
  const problem = `\`${text}\` has a \`*\` in an odd place: a pattern is \`*\` or \`*.name\``;
  // `foo*.com` did not mean every name there is below `com`.
  if (!rest.includes(".") || !parseDnsName(rest).ok) return { ok: false, problem };
  const suggestion = `*.${rest}`;
  return { ok: false, problem: `${problem}; \`${suggestion}\` is every name below \`${rest}\``, suggestion };
}

/** The plain meaning of a pattern, for a canonical name; the compiled program must agree with it. */
export function patternMatches(pattern: DomainPattern, name: DnsName): boolean {
  switch (pattern.kind) {
    case "any":
      return true;
    case "exact":
      return pattern.name === name;
    case "below":
      return name.length > pattern.name.length + 1 && name.endsWith(`.${pattern.name}`);
  }
}

/** Every name of `inner` is one of `outer`. */
export function patternCovers(outer: DomainPattern, inner: DomainPattern): boolean {
  if (outer.kind === "any" || inner.kind === "any") return outer.kind === "any";
  if (inner.kind === "exact") return patternMatches(outer, inner.name);
  return outer.kind === "below" && (outer.name === inner.name || patternMatches(outer, inner.name));
}

export function formatDomainPattern(pattern: DomainPattern): string {
  if (pattern.kind === "any") return "*";
  return pattern.kind === "below" ? `*.${pattern.name}` : pattern.name;
}
