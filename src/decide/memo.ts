import type { Decision } from "../model/decision.ts";
import type { Facts } from "../model/facts.ts";
import { sameAddress } from "../net/address.ts";
import type { Walk } from "../program/layout.ts";
import type { Program } from "../program/program.ts";
import { decide } from "./decide.ts";
import { namesToResolve } from "./names-to-resolve.ts";

const SLOTS = 1024;
/** A path may be 64 KiB long; slots must not hold memory that a pod chose. */
const LONGEST_PATH = 512;

/**
 * `decide`, with the latest answers kept: pods open one connection after the other to the same place, and send one request
 * after the other of the same kind. An answer serves facts that are equal in every field, in one epoch, and in nothing else;
 * so it is the answer that `decide` would give. Names count as equal if they are the same array, which the name table keeps
 * until a binding changes. A pod that asks for much overwrites slots and costs the others a walk each.
 */
export class DecisionMemo {
  #program: Program | null = null;
  #slots: (Slot | undefined)[] = [];

  decide(program: Program, cls: number, facts: Facts, walk: Walk): Decision | null {
    if (!mayKeep(facts)) return decide(program, cls, facts, walk);
    const slot = this.#slot(program, cls, facts, walk);
    if (slot.holds(cls, facts, walk)) return slot.decision;
    const decision = decide(program, cls, facts, walk);
    slot.take(cls, facts, walk, decision);
    return decision;
  }

  /** `namesToResolve` of the walk that is enforced. */
  namesToResolve(program: Program, cls: number, facts: Facts): readonly string[] {
    if (!mayKeep(facts)) return namesToResolve(program, cls, facts);
    const slot = this.#slot(program, cls, facts, "enforce");
    if (!slot.holds(cls, facts, "enforce")) return namesToResolve(program, cls, facts);
    slot.wanted ??= namesToResolve(program, cls, facts);
    return slot.wanted;
  }

  #slot(program: Program, cls: number, facts: Facts, walk: Walk): Slot {
    if (program !== this.#program) {
      this.#program = program;
      this.#slots = new Array<Slot | undefined>(SLOTS).fill(undefined);
    }
    const at = hash(cls, facts, walk) & (SLOTS - 1);
    const slot = this.#slots[at];
    if (slot !== undefined) return slot;
    const made = new Slot();
    this.#slots[at] = made;
    return made;
  }
}

function mayKeep({ path }: Facts): boolean {
  return typeof path !== "string" || path.length <= LONGEST_PATH;
}

class Slot {
  decision: Decision | null = null;
  wanted: readonly string[] | null = null;
  #cls = -2;
  #walk: Walk = "enforce";
  #facts: Facts | null = null;

  holds(cls: number, facts: Facts, walk: Walk): boolean {
    return this.#facts !== null && this.#cls === cls && this.#walk === walk && sameFacts(this.#facts, facts);
  }

  /** Copies the facts: those of a flow change while it is read. */
  take(cls: number, facts: Facts, walk: Walk, decision: Decision | null): void {
    this.#cls = cls;
    this.#walk = walk;
    this.#facts = { ...facts };
    this.decision = decision;
    this.wanted = null;
  }
}

/** What flows differ in most comes first. */
function sameFacts(a: Facts, b: Facts): boolean {
  return (
    sameAddress(a.address, b.address) &&
    a.port === b.port &&
    a.protocol === b.protocol &&
    a.names === b.names &&
    a.aliases === b.aliases &&
    a.namesFinal === b.namesFinal &&
    a.application === b.application &&
    a.evidence === b.evidence &&
    a.nameHidden === b.nameHidden &&
    a.encryptedClientHello === b.encryptedClientHello &&
    a.method === b.method &&
    a.path === b.path &&
    a.ended === b.ended
  );
}

/** Spreads what flows differ in most. A pod that makes answers meet in one slot wins nothing but walks. */
function hash(cls: number, facts: Facts, walk: Walk): number {
  const { address, port, evidence, path } = facts;
  let h = address.w3 ^ Math.imul(address.w2 ^ Math.imul(address.w1 ^ Math.imul(address.w0, 31), 31), 31);
  h = Math.imul(h ^ (port + (facts.protocol << 16)), 0x85ebca6b);
  h = Math.imul((h ^ (h >>> 15)) + cls, 0xcc9e2d51);
  h = Math.imul((h ^ (h >>> 15)) + sizeOf(evidence) * 64 + sizeOf(path), 0x1b873593);
  return (h ^ (h >>> 13)) + (walk === "all" ? 4 : 0) + (facts.ended ? 2 : 0) + (facts.namesFinal ? 1 : 0);
}

function sizeOf(text: string | null | undefined): number {
  return typeof text !== "string" ? 0 : text.length === 0 ? 1 : text.length + text.charCodeAt(text.length - 1) * 512;
}
