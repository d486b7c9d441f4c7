import type { Decision } from "../model/decision.ts";
import type { Application, Facts } from "../model/facts.ts";
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
  #w0 = 0;
  #w1 = 0;
  #w2 = 0;
  #w3 = 0;
  #port = 0;
  #protocol = 0;
  #names: readonly string[] = [];
  #aliases: readonly string[] = [];
  #namesFinal = false;
  #application: Application = "Unknown";
  #evidence: string | null | undefined;
  #nameHidden = false;
  #encryptedClientHello: boolean | undefined;
  #method: string | null | undefined;
  #path: string | null | undefined;
  #ended = false;

  holds(cls: number, facts: Facts, walk: Walk): boolean {
    const { address } = facts;
    return (
      this.#cls === cls &&
      this.#walk === walk &&
      this.#w3 === address.w3 &&
      this.#w2 === address.w2 &&
      this.#w1 === address.w1 &&
      this.#w0 === address.w0 &&
      this.#port === facts.port &&
      this.#protocol === facts.protocol &&
      this.#names === facts.names &&
      this.#aliases === facts.aliases &&
      this.#namesFinal === facts.namesFinal &&
      this.#application === facts.application &&
      this.#evidence === facts.evidence &&
      this.#nameHidden === facts.nameHidden &&
      this.#encryptedClientHello === facts.encryptedClientHello &&
      this.#method === facts.method &&
      this.#path === facts.path &&
      this.#ended === facts.ended
    );
  }

  take(cls: number, facts: Facts, walk: Walk, decision: Decision | null): void {
    const { address } = facts;
    this.#cls = cls;
    this.#walk = walk;
    this.#w0 = address.w0;
    this.#w1 = address.w1;
    this.#w2 = address.w2;
    this.#w3 = address.w3;
    this.#port = facts.port;
    this.#protocol = facts.protocol;
    this.#names = facts.names;
    this.#aliases = facts.aliases;
    this.#namesFinal = facts.namesFinal;
    this.#application = facts.application;
    this.#evidence = facts.evidence;
    this.#nameHidden = facts.nameHidden;
    this.#encryptedClientHello = facts.encryptedClientHello;
    this.#method = facts.method;
    this.#path = facts.path;
    this.#ended = facts.ended;
    this.decision = decision;
    this.wanted = null;
  }
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
