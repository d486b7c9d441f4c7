import * as wasm from "./wasm.ts";
import { add, and, type Code, get, int, type Local, less, not, or, set, shiftRight, store, when, xor } from "./wasm.ts";

// Multilinear hashing (Carter and Wegman 1979; Lemire and Kaser 2014, "Strongly universal string hashing is fast"): of 32-bit words w1, w2, … and random
// keys k0, k1, … of 64 bits the sum k0 + k1·w1 + k2·w2 + … modulo 2^64. Its upper 33 bits are strongly universal: for any two
// different inputs all pairs of values are equally likely. Three lanes with keys of their own make 96 bits.
//
// The words are those of a name from its end on, so that the sum for a name is on the way the sum for each of its suffixes, but for the word in which
// the suffix begins: there, what is before it counts as nothing. So that nothing is not the same as NUL, bytes are taken as their complement: 0xff is no
// byte of UTF-8.

/** Where things are in memory, in bytes. Before the name lie four bytes of 0xff. */
export const NAME = 64;
export const KEYS = 1024;
export const RESULTS = 8192;
export const LANES = 3;
export const WORD_BYTES = 4;
/** In the last lane of what is a suffix, and not the name itself. */
export const BELOW = 1;

const KEY_BYTES = 8;
const RESULT_BYTES = LANES * WORD_BYTES;
const DOT_COMPLEMENTS = 0xd1d1d1d1;
const LOWER_BITS = 0x7f7f7f7f;
const LAST_LEVEL = 31;

const local = (index: number, type: Local["type"] = "i32"): Local => ({ index, type });
/** Parameters: behind the last byte of the name; the levels that are wanted, a bit each. */
const [at, levels] = [local(0), local(1)];
const [word, zeros, dots, bit, level] = [local(2), local(3), local(4), local(5), local(6)];
/** Offsets of the keys of this word, and of the next result. */
const [key, result] = [local(7), local(8)];
const part = local(9, "i64");
const sums = [local(10, "i64"), local(11, "i64"), local(12, "i64")] as const;
const LOCALS = [at, levels, word, zeros, dots, bit, level, key, result, part, ...sums];

/** `run(end, levels)` returns the bytes of results. */
export function hashModule(): Uint8Array {
  return wasm.wasmModule(2, LOCALS, [
    ...sums.map((sum, lane) => set(sum, wasm.loadLong(int(0), KEYS + lane * KEY_BYTES))),
    set(key, int(LANES * KEY_BYTES)),
    wasm.repeat(
      [
        set(at, wasm.subtract(get(at), int(WORD_BYTES))),
        set(word, not(wasm.load(get(at), 0))),
        set(zeros, xor(get(word), int(DOT_COMPLEMENTS))),
        set(dots, highBitsOfZeros(get(zeros))),
        when(get(dots), wasm.repeat(suffixBehindLastDot(), get(dots))),
        set(part, wasm.toLong(get(word))),
        ...sums.map((sum, lane) => set(sum, withPart(lane))),
        set(key, add(get(key), int(LANES * KEY_BYTES))),
      ],
      less(int(NAME), get(at)),
    ),
    when(wanted(), ...write((lane) => wasm.upperHalf(get(sums[lane]!)))),
    get(result),
  ]);
}

/** The high bit of each byte that is 0; of a sum without carries, so that no byte is taken for one because of its neighbour. */
function highBitsOfZeros(bytes: Code): Code {
  return not(or(or(add(and(bytes, int(LOWER_BITS)), int(LOWER_BITS)), bytes), int(LOWER_BITS)));
}

/** The last dot is in the most significant byte; what lies behind it, in those above. */
function suffixBehindLastDot(): Code[] {
  return [
    set(bit, wasm.leadingZeros(get(dots))),
    set(dots, xor(get(dots), shiftRight(int(0x80000000), get(bit)))),
    when(
      wanted(),
      set(part, wasm.toLong(and(get(word), not(shiftRight(int(-1), get(bit)))))),
      ...write((lane) => xor(wasm.upperHalf(withPart(lane)), int(lane === LANES - 1 ? BELOW : 0))),
    ),
    set(level, add(get(level), less(get(level), int(LAST_LEVEL)))),
  ];
}

function wanted(): Code {
  return and(shiftRight(get(levels), get(level)), int(1));
}

function withPart(lane: number): Code {
  const factor = wasm.loadLong(get(key), KEYS + lane * KEY_BYTES);
  return wasm.addLong(get(sums[lane]!), wasm.multiplyLong(factor, get(part)));
}

function write(hash: (lane: number) => Code): Code[] {
  const words = sums.map((_, lane) => store(get(result), RESULTS + lane * WORD_BYTES, hash(lane)));
  return [...words, set(result, add(get(result), int(RESULT_BYTES)))];
}
