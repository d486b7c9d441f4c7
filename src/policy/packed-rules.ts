import type { Rule } from "../model/policy.ts";

/** Makes texts small. */
export interface TextPacker {
  pack(text: string): Uint8Array;
  unpack(bytes: Uint8Array): string;
}

/** Policies whose rules are put away together: alike as they are, they take a fraction of what each alone would. */
const TOGETHER = 64;

/** Rules of some policies, as text; once put away, as what a packer makes of that. */
export class PackedRules {
  /** JSON by policy, or all of them with a line feed between: JSON has none. */
  #texts: readonly string[] | Uint8Array;
  #packing: RulePacking;

  constructor(texts: readonly string[], packing: RulePacking) {
    this.#texts = texts;
    this.#packing = packing;
  }

  of(index: number): readonly Rule[] {
    const texts = this.#texts instanceof Uint8Array ? this.#packing.unpack(this.#texts) : this.#texts;
    return JSON.parse(texts[index]!) as Rule[];
  }

  putAway(): void {
    if (!(this.#texts instanceof Uint8Array)) this.#texts = this.#packing.pack(this.#texts);
  }
}

/** Gathers rules as they come. */
export class RulePacking {
  readonly #packer: TextPacker;
  #gathering: string[] = [];
  #rules: PackedRules | null = null;
  /** Whoever asks for one policy of a file asks for the next one, too. */
  #last: { readonly bytes: Uint8Array; readonly texts: readonly string[] } | null = null;

  constructor(packer: TextPacker) {
    this.#packer = packer;
  }

  /** Where the rules are from now on. */
  add(rules: readonly Rule[]): { readonly rules: PackedRules; readonly index: number } {
    if (this.#rules === null || this.#gathering.length === TOGETHER) this.#begin();
    const index = this.#gathering.push(JSON.stringify(rules)) - 1;
    return { rules: this.#rules!, index };
  }

  /** What comes from now on has nothing to do with what came before, and will not change with it. */
  next(): void {
    this.#rules = null;
  }

  pack(texts: readonly string[]): Uint8Array {
    if (texts === this.#gathering) this.#rules = null;
    return this.#packer.pack(texts.join("\n"));
  }

  unpack(bytes: Uint8Array): readonly string[] {
    if (this.#last?.bytes !== bytes) this.#last = { bytes, texts: this.#packer.unpack(bytes).split("\n") };
    return this.#last.texts;
  }

  #begin(): void {
    this.#gathering = [];
    this.#rules = new PackedRules(this.#gathering, this);
  }
}
