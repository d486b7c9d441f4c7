import type { FlowRecord } from "../flow/record.ts";
import { parseAddress, sameAddress } from "../net/address.ts";
import { cidrContains, parseCidr } from "../net/cidr.ts";
import { normaliseDnsName } from "../net/name.ts";
import { parseDomainPattern, patternMatches } from "../net/pattern.ts";
import { UsageError } from "./failure.ts";

export interface FilterOptions {
  readonly from?: string;
  readonly to?: string;
  readonly action?: string;
  readonly since?: string;
}

export type FlowFilter = (record: FlowRecord) => boolean;

/** All given conditions must hold. `now` in milliseconds since the epoch. @throws UsageError what is wrong with an option */
export function flowFilter(options: FilterOptions, now: number): FlowFilter {
  const conditions: FlowFilter[] = [];
  if (options.from !== undefined) conditions.push(fromCondition(options.from));
  if (options.to !== undefined) conditions.push(toCondition(options.to));
  if (options.action !== undefined) conditions.push((record) => record.action === options.action);
  if (options.since !== undefined) {
    const since = parseSince(options.since, now);
    conditions.push((record) => Date.parse(record.time) >= since);
  }
  return (record) => conditions.every((holds) => holds(record));
}

function fromCondition(text: string): FlowFilter {
  const [namespace, name, ...rest] = text.split("/");
  if (!namespace || name === "" || rest.length > 0)
    throw new UsageError(`\`--from ${text}\`: write NAMESPACE or NAMESPACE/POD`);
  return ({ workload }) => workload?.namespace === namespace && (name === undefined || workload.name === name);
}

function toCondition(text: string): FlowFilter {
  const address = parseAddress(text);
  const range = text.includes("/") ? parseCidr(text) : null;
  if (range !== null && !range.ok) throw new UsageError(`\`--to\`: ${range.problem}`);
  if (range !== null || address !== null) {
    return ({ destination }) => {
      const found = destination === undefined ? null : parseAddress(destination.address);
      if (found === null) return false;
      return range === null
        ? address !== null && sameAddress(address, found)
        : range.ok && cidrContains(range.cidr, found);
    };
  }
  const below = text.startsWith("*.");
  const name = normaliseDnsName(below ? text.slice(2) : text);
  const pattern = parseDomainPattern(name === null ? text : below ? `*.${name}` : name);
  if (!pattern.ok) throw new UsageError(`\`--to\`: ${pattern.problem}`);
  return ({ destination }) => destination?.name !== undefined && patternMatches(pattern.pattern, destination.name);
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `10m`, `2h`, `3d` before `now`, or a time; milliseconds since the epoch. @throws UsageError */
export function parseSince(text: string, now: number): number {
  const relative = /^(\d{1,9})([smhd])$/.exec(text);
  if (relative !== null) return now - Number(relative[1]) * (UNIT_MS[relative[2] ?? ""] ?? 0);
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time))
    throw new UsageError(`\`--since ${text}\`: write 90s, 10m, 2h, 3d or a time like 2026-01-31T12:00:00Z`);
  return time;
}
