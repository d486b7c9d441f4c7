import { type Cidr, cidrIsIPv4, formatCidr } from "../net/cidr.ts";
import { type DomainPattern, formatDomainPattern } from "../net/pattern.ts";
import type { CidrSet } from "./cidr-table.ts";
import { EXTENT } from "./layout.ts";

/** How many exact names of one set the agent may be asked to resolve. */
const MOST_EXACT = 16;
const MOST_SHOWN = 3;
/** Longer lists are not compared: two that happen to be equal are two sets. */
const MOST_COMPARED = 64;

/** Numbers the sets of names and of addresses that entries and groups speak of; equal short lists are one set. */
export class Sets {
  readonly names: (readonly DomainPattern[])[] = [];
  readonly cidrs: CidrSet[] = [];
  readonly nameText: string[] = [];
  readonly cidrText: string[] = [];
  readonly exactNames: (readonly string[])[] = [];
  readonly exactOnly: boolean[] = [];
  private readonly known = new Map<string, number>();

  addNames(patterns: readonly DomainPattern[]): number {
    const key = patterns.length > MOST_COMPARED ? null : `names ${patterns.map(formatDomainPattern).join()}`;
    return this.once(key, () => {
      this.nameText.push(shown(patterns, formatDomainPattern));
      const names = exact(patterns);
      this.exactNames.push(names);
      this.exactOnly.push(names.length === patterns.length);
      return this.names.push(patterns) - 1;
    });
  }

  addCidrs(cidrs: readonly Cidr[], except: readonly Cidr[]): number {
    const text = (list: readonly Cidr[]) => list.map(formatCidr).join();
    const key = cidrs.length + except.length > MOST_COMPARED ? null : `cidrs ${text(cidrs)} except ${text(except)}`;
    return this.once(key, () => {
      const without = except.length === 0 ? "" : ` without ${shown(except, formatCidr)}`;
      this.cidrText.push(shown(cidrs, formatCidr) + without);
      return this.cidrs.push({ cidrs, except }) - 1;
    });
  }

  /** By set of addresses one of EXTENT. */
  extents(): number[] {
    return this.cidrs.map(({ cidrs, except }) => {
      if (cidrs.length === 0) return EXTENT.nowhere;
      const ipv4 = cidrs.some((cidr) => cidr.bits === 96 && cidrIsIPv4(cidr));
      return ipv4 && cidrs.some(({ bits }) => bits === 0) && except.length === 0 ? EXTENT.everywhere : EXTENT.some;
    });
  }

  private once(key: string | null, add: () => number): number {
    if (key === null) return add();
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const id = add();
    this.known.set(key, id);
    return id;
  }
}

function exact(patterns: readonly DomainPattern[]): string[] {
  const names: string[] = [];
  for (const pattern of patterns) {
    if (names.length === MOST_EXACT) break;
    if (pattern.kind === "exact") names.push(pattern.name);
  }
  return names;
}

function shown<T>(list: readonly T[], format: (item: T) => string): string {
  const first = list.slice(0, MOST_SHOWN).map((item) => `\`${format(item)}\``);
  const more = list.length - first.length;
  return first.join(", ") + (more > 0 ? ` and ${more} more` : "");
}
