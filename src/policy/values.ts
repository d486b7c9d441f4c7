import * as z from "zod";
import { formatAddress, isIPv4, parseAddress } from "../net/address.ts";
import { parseCidr } from "../net/cidr.ts";
import { parseDnsName } from "../net/name.ts";
import { parseDomainPattern } from "../net/pattern.ts";
import { at, type Check, checked, shown } from "./check.ts";

/** A string of a fixed form; `what` completes "… is no", `rule` says what is right. */
export function formOf(pattern: RegExp, longest: number, what: string, rule: string): z.ZodString {
  const error = (issue: { readonly input?: unknown }) =>
    typeof issue.input === "string" ? `${shown(issue.input)} is no ${what}: use ${rule}` : undefined;
  return z.string().max(longest, { error }).regex(pattern, { error });
}

/** Names of rules, namespaces (RFC 1123 label). */
export const LabelName = formOf(
  /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
  63,
  "name of this kind",
  "lower-case letters, digits and `-`, up to 63 characters",
);

/** Names of objects (RFC 1123 subdomain). */
export const ObjectName = formOf(
  /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
  253,
  "object name",
  "lower-case letters, digits, `-` and dots, up to 253 characters",
);

export const LABEL_KEY =
  /^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

export const LabelKey = formOf(LABEL_KEY, 317, "label key", "`name` or `prefix/name`");

export const LabelValue = formOf(
  /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/,
  63,
  "label value",
  "letters, digits, `-`, `_` and `.`, up to 63 characters",
);

export const Method = formOf(/^[A-Z][A-Z0-9_-]*$/, 32, "HTTP method of a rule", "upper case, as in `GET`");

const LABELS = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*";
/** Names whose last label reads as a number, so that they are addresses to some programs (net/name). */
const NUMERIC = "(^|\\.)([0-9]+|0x[0-9a-f]*)$";

export const Domain = checked(
  z
    .string()
    .max(255)
    .meta({
      pattern: `^(\\*|(\\*\\.)?${LABELS})$`,
      // A name without `*.` in front has two characters less.
      not: { pattern: `^[^*].{253}|${NUMERIC}` },
      description:
        "`name` is exactly that name, `*.name` every name below it but not itself, `*` any name. Lower case, no trailing dot, other scripts as A-labels (`xn--…`).",
    }),
  { name: "domain-pattern", api: { by: "schema" }, find: (value) => problemOf(parseDomainPattern(value)) },
);

export const ClusterDomain = checked(
  z
    .string()
    .max(253)
    .meta({ pattern: `^${LABELS}$`, not: { pattern: NUMERIC } }),
  { name: "dns-name", api: { by: "schema" }, find: (value) => problemOf(parseDnsName(value)) },
);

export const CidrText = checked(
  z.string().max(49).meta({
    pattern: "^[0-9a-fA-F.:]+/[0-9]{1,3}$",
    description: "An address range, as in `203.0.113.0/24` or `2001:db8::/32`; no bits may be set after the prefix.",
  }),
  {
    name: "cidr",
    api: {
      by: "cel",
      rule: "isCIDR(self) && cidr(self) == cidr(self).masked()",
      message: "no address range: write it as `203.0.113.0/24` or `2001:db8::/32`, with no bits set after the prefix",
    },
    find: (value) => problemOf(parseCidr(value)),
  },
);

export const AddressText = checked(
  z.string().max(45).meta({
    pattern: "^[0-9a-fA-F.:]+$",
    description: "An IP address, as in `192.0.2.1` or `2001:db8::1`.",
  }),
  {
    name: "address",
    api: {
      by: "cel",
      rule: "isIP(self)",
      message: "no IP address: write it as `192.0.2.1` or `2001:db8::1`",
    },
    find(value) {
      const address = parseAddress(value);
      if (address === null) return at(`${shown(value)} is no IP address: write it as \`192.0.2.1\` or \`2001:db8::1\``);
      // The API server takes no address in two families, and ranges are refused for it too.
      if (!value.includes(":") || !isIPv4(address)) return null;
      return at(`${shown(value)} is an IPv4 address in IPv6 form: write \`${formatAddress(address)}\``);
    },
  } satisfies Check<string>,
);

function problemOf(result: { readonly ok: true } | { readonly ok: false; readonly problem: string }) {
  return result.ok ? null : at(result.problem);
}

/** A list with at least one entry and at most `most`; `otherwise` says what to do instead of an empty one. */
export function listOf<S extends z.ZodType>(item: S, most: number, otherwise: string): z.ZodArray<S> {
  return z.array(item).min(1, { error: otherwise }).max(most);
}
