import { expect } from "vitest";

const BEFORE = 5;

/**
 * Runs `parse` on `input` at the very end of its buffer, and again with hostile bytes behind it: a parser that reads past
 * the end gives itself away by another result. Returns the result; offsets in it count from the given `start`.
 */
export function guarded<T>(
  input: Uint8Array,
  parse: (buf: Uint8Array, start: number, end: number) => T,
  ...tails: Uint8Array[]
): T {
  const end = BEFORE + input.length;
  const exact = new Uint8Array(end).fill(0x5a, 0, BEFORE);
  exact.set(input, BEFORE);
  const wanted = parse(exact, BEFORE, end);
  for (const tail of [new Uint8Array(80).fill(0), new Uint8Array(80).fill(0xff), ...tails]) {
    const larger = new Uint8Array(end + tail.length);
    larger.set(exact);
    larger.set(tail, end);
    expect(parse(larger, BEFORE, end)).toEqual(wanted);
  }
  return wanted;
}

/** Runs `parse` on every prefix of `input`, with the true rest behind the end as one of the hostile tails. */
export function everyPrefix<T>(
  input: Uint8Array,
  parse: (buf: Uint8Array, start: number, end: number) => T,
  check: (result: T, length: number) => void,
  step = 1,
): void {
  for (let length = 0; length <= input.length; length += step) {
    check(guarded(input.subarray(0, length), parse, input.subarray(length)), length);
  }
}
