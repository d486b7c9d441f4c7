import type { Facts } from "../model/facts.ts";
import { findPrefix, PREFIX } from "./cidr-table.ts";
import { CLASS, type ProgramData } from "./layout.ts";
import { NameFinder } from "./name-table.ts";
import { listHolds } from "./postings.ts";

/** How a set of names meets the names of a flow; several may hold. */
export const NAME_MARK = { bound: 1, alias: 2, evidence: 4 } as const;
const NAME_BITS = 3;
const CIDR_BITS = 2;
const INSIDE = 1;
const TAKEN_OUT = 2;
const LAST_GENERATION = 1 << 28;

/** IPv4 0.0.0.0: see PLACEHOLDER in decide/destination. */
const UNKNOWN_ADDRESS_WORD = 0xffff;

/**
 * Which sets hold the names and the address of the flow that is being decided. One look-up a name and one an address,
 * however many rules ask; made on the first question, so that rules on ports alone never pay. Marks of earlier flows are
 * told apart by a generation, not cleared.
 */
export class Marks {
  private readonly data: ProgramData;
  private readonly names: Uint32Array;
  private readonly cidrs: Uint32Array;
  private readonly finder: NameFinder;
  private generation = 0;
  private namesDone = false;
  private cidrsDone = false;
  private cls = 0;
  private facts: Facts | null = null;

  constructor(data: ProgramData) {
    this.data = data;
    this.finder = new NameFinder(data.names);
    this.names = new Uint32Array(data.names.setCount);
    this.cidrs = new Uint32Array(data.cidrs.setCount);
  }

  /** From here on the answers are about these facts. Facts are not kept beyond the next call. */
  begin(cls: number, facts: Facts): void {
    this.cls = cls;
    this.facts = facts;
    this.namesDone = false;
    this.cidrsDone = false;
    if (++this.generation === LAST_GENERATION) {
      this.names.fill(0);
      this.cidrs.fill(0);
      this.generation = 1;
    }
  }

  /** NAME_MARK bits of a set. */
  nameMarks(set: number): number {
    if (!this.namesDone) this.markNames();
    const mark = this.names[set]!;
    return mark >>> NAME_BITS === this.generation ? mark & ((1 << NAME_BITS) - 1) : 0;
  }

  /** Whether a set of addresses holds the destination. */
  holdsAddress(set: number): boolean {
    if (!this.cidrsDone) this.markAddress();
    return this.cidrs[set] === ((this.generation << CIDR_BITS) | INSIDE) >>> 0;
  }

  private markNames(): void {
    this.namesDone = true;
    const { names, aliases, evidence } = this.facts!;
    for (const name of names) this.markName(name, NAME_MARK.bound);
    for (const name of aliases) this.markName(name, NAME_MARK.alias);
    if (typeof evidence === "string") this.markName(evidence, NAME_MARK.evidence);
  }

  private markName(name: string, bit: number): void {
    const found = this.finder.find(name);
    const fresh = (this.generation << NAME_BITS) >>> 0;
    const { classes, classLists, postings } = this.data;
    const at = this.cls * CLASS.stride;
    const own = classes[at + CLASS.names]!;
    const ownCount = classes[at + CLASS.nameCount]!;
    for (let i = 0; i < found; i++) {
      const list = this.finder.lists[i]!;
      const length = postings[list]!;
      // a name that thousands of other classes' sets hold costs what this class asks about, not what they do
      const few = length <= ownCount * 4;
      const count = few ? length : ownCount;
      for (let j = 0; j < count; j++) {
        const set = few ? postings[list + 1 + j]! : classLists[own + j]!;
        if (!few && !listHolds(postings, list, set)) continue;
        const mark = this.names[set]!;
        this.names[set] = (mark >>> NAME_BITS === this.generation ? mark : fresh) | bit;
      }
    }
  }

  private markAddress(): void {
    this.cidrsDone = true;
    const { w0, w1, w2, w3 } = this.facts!.address;
    const { prefixes } = this.data.cidrs;
    const unknown = w3 === 0 && w2 === UNKNOWN_ADDRESS_WORD && w1 === 0 && w0 === 0;
    let prefix = unknown ? this.ipv4Root() : findPrefix(this.data.cidrs, w0, w1, w2, w3);
    while (prefix >= 0) {
      const at = prefix * PREFIX.stride;
      this.markCidrs(prefixes[at + PREFIX.members]!, INSIDE);
      this.markCidrs(prefixes[at + PREFIX.excepts]!, TAKEN_OUT);
      prefix = prefixes[at + PREFIX.parent]! | 0;
    }
  }

  /** An address that nothing is known of is in the whole of IPv4 and in no part of it. */
  private ipv4Root(): number {
    const { prefixes } = this.data.cidrs;
    let prefix = findPrefix(this.data.cidrs, 0, 0, UNKNOWN_ADDRESS_WORD, 0);
    for (;;) {
      const parent = prefixes[prefix * PREFIX.stride + PREFIX.parent]! | 0;
      if (parent < 0) return prefix;
      prefix = parent;
    }
  }

  /** What is taken out stays out, whichever prefix is the narrower. */
  private markCidrs(list: number, bit: number): void {
    const { classes, classLists, postings } = this.data;
    const at = this.cls * CLASS.stride;
    const own = classes[at + CLASS.cidrs]!;
    const ownCount = classes[at + CLASS.cidrCount]!;
    const length = postings[list]!;
    const few = length <= ownCount * 4;
    const count = few ? length : ownCount;
    const takenOut = ((this.generation << CIDR_BITS) | TAKEN_OUT) >>> 0;
    for (let j = 0; j < count; j++) {
      const set = few ? postings[list + 1 + j]! : classLists[own + j]!;
      if (!few && !listHolds(postings, list, set)) continue;
      if (this.cidrs[set] !== takenOut) this.cidrs[set] = ((this.generation << CIDR_BITS) | bit) >>> 0;
    }
  }
}
