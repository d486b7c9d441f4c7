/** The part of the WHATWG URL that every runtime has; declared here so that `net` needs neither DOM nor Node types. */
declare const URL: { parse(text: string): { readonly hostname: string } | null };

/**
 * The A-label form of a name in other scripts or cases (UTS 46, non-transitional, as browsers do it: the runtime's own URL
 * parser, so that no mapping table is loaded). Null if it has none. The result still has to pass `parseDnsName`.
 */
export function toALabels(text: string): string | null {
  // A URL would end the host at these, or decode them.
  if (/[\p{Cc}\s/?#@:\\%[\]]/u.test(text) || text.length > 1024) return null;
  const host = URL.parse(`http://${text}/`)?.hostname;
  return host === undefined || host === "" ? null : host;
}
