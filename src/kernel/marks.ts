import { type Generation, STATE, type State } from "../model/verdict.ts";

/**
 * Where the words of model/verdict.ts lie in a 32-bit packet or conntrack mark: under a mask of six contiguous bits.
 * All other bits belong to others (kube-proxy, a CNI) and are kept as they are.
 */
export interface MarkLayout {
  /** Unsigned. */
  readonly mask: number;
  readonly shift: number;
}

/** Bits of the conntrack word that hold the state. */
export const STATE_BITS = 0x07;
/** Bit of the conntrack word: the generation of the agent that follows the flow. Read only with looking, confirming, HTTP, proving. */
export const GENERATION_BIT = 0x08;
/** Bit of the conntrack word: its SYN went by unasked, and no answer has been given about the flow yet. Only with looking. */
export const TOLD_BIT = 0x10;
/**
 * Bit of the conntrack word that says "this question comes from an observed workload" on the few instructions between
 * our chain and the xtables rules, which cannot look into nft sets. Kernels with nft `queue` do without it.
 */
export const OBSERVED_BIT = 0x20;
/** Packet word between prerouting and the next hook: this DNS question has been asked and may go on. */
export const ASKED = 0x10;

/** Throws a RangeError when the mask is not six bits in a row. */
export function markLayout(mask: number): MarkLayout {
  const unsigned = mask >>> 0;
  const shift = unsigned === 0 ? 0 : 31 - Math.clz32(unsigned & -unsigned);
  if (unsigned >>> shift !== 0x3f) {
    throw new RangeError(`markMask \`0x${unsigned.toString(16)}\` is not six bits in a row; use for example \`0x3f\``);
  }
  return { mask: unsigned, shift };
}

/** `word` (six bits) in place, the other bits 0. */
export function inPlace(layout: MarkLayout, word: number): number {
  return (word << layout.shift) >>> 0;
}

/** The six bits of a mark, shifted down. */
export function wordOf(layout: MarkLayout, mark: number): number {
  return (mark & layout.mask) >>> layout.shift;
}

/** The states in which a flow is followed by an agent. */
export const FOLLOWED_STATES: ReadonlySet<State> = new Set([
  STATE.looking,
  STATE.http,
  STATE.confirming,
  STATE.proving,
]);

/** The same as conntrack words of one generation. */
export function followedWords(generation: Generation): readonly number[] {
  const bit = generation === 1 ? GENERATION_BIT : 0;
  return [...FOLLOWED_STATES].map((state) => state | bit);
}

/** A mark whose six bits say `word`, and whose other bits are those of `mark`. */
export function withWord(layout: MarkLayout, mark: number, word: number): number {
  return ((mark & ~layout.mask) | (word << layout.shift)) >>> 0;
}

/** What a conntrack mark remembers. */
export function stateOf(layout: MarkLayout, mark: number): State {
  return (wordOf(layout, mark) & STATE_BITS) as State;
}
