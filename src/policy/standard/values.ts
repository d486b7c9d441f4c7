import * as z from "zod";
import { type Cidr, parseCidr } from "../../net/cidr.ts";
import { type DnsName, normaliseDnsName } from "../../net/name.ts";
import { MAX_PORT } from "../../net/ports.ts";
import { type ApiTwin, at, checked, shown } from "../check.ts";
import { selectorOf } from "../selector-schema.ts";

/** The API server has rules of its own for these kinds; what they let pass and this version cannot read is said in the status. */
export const BY_ITS_OWN: ApiTwin = { by: "status", why: "the kind is defined elsewhere" };

/** Upstream has no bound; this one is out of the way. */
const MOST = 4096;

export const StandardSelector = selectorOf(MOST, MOST);

export const PortNumber = z.int().min(1).max(MAX_PORT);

/** A range as upstream takes it: bits behind the prefix may be set, and do not count. Null: it is none. */
export function readRange(text: string): Cidr | null {
  if (!text.includes("/")) return null;
  const result = parseCidr(text);
  if (result.ok) return result.cidr;
  const masked = result.suggestion === undefined ? null : parseCidr(result.suggestion);
  return masked?.ok === true ? masked.cidr : null;
}

export const Range = checked(z.string().max(64), {
  name: "range",
  api: BY_ITS_OWN,
  find: (text) =>
    readRange(text) === null ? at(`${shown(text)} is no address range: write it as \`203.0.113.0/24\``) : null,
});

/** `name` or `*.name`, in any spelling of DNS. */
export interface StandardName {
  readonly below: boolean;
  readonly name: DnsName;
}

/** Null: it is none. A `*` stands for one or more whole labels, at the front only. */
export function readName(text: string): StandardName | null {
  const below = text.startsWith("*.");
  const name = normaliseDnsName(below ? text.slice(2) : text);
  return name === null || !name.includes(".") ? null : { below, name };
}

export const DomainName = checked(z.string().max(255), {
  name: "domain-name",
  api: BY_ITS_OWN,
  find: (text) =>
    readName(text) === null
      ? at(`${shown(text)} is no domain name: write it as \`api.example.com\` or \`*.example.com\``)
      : null,
});
