/**
 * Writes a WebAssembly module of one function and one page of memory (WebAssembly Core Specification 2.0, chapter 5): as many instructions as
 * are used here, as expressions. The function takes and returns 32-bit integers; its memory is exported as `memory`, itself as `run`.
 */
export type Code = readonly number[];

/** A local variable, or a parameter: those come first. */
export interface Local {
  readonly index: number;
  readonly type: "i32" | "i64";
}

const TYPE = { i32: 0x7f, i64: 0x7e } as const;
const NO_VALUE = 0x40;
const END = 0x0b;
const FUNCTION = 0x60;
const SECTION = { types: 1, functions: 3, memories: 5, exports: 7, code: 10 } as const;
const EXPORT = { function: 0, memory: 2 } as const;
const HEAD = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0] as const;

export const get = (local: Local): Code => [0x20, ...unsigned(local.index)];
export const set = (local: Local, value: Code): Code => [...value, 0x21, ...unsigned(local.index)];
export const int = (value: number): Code => [0x41, ...signed(value | 0)];

/** Of 32 bits. Shifts are by the lower five bits of `by`. */
export const add = (a: Code, b: Code): Code => [...a, ...b, 0x6a];
export const subtract = (a: Code, b: Code): Code => [...a, ...b, 0x6b];
export const and = (a: Code, b: Code): Code => [...a, ...b, 0x71];
export const or = (a: Code, b: Code): Code => [...a, ...b, 0x72];
export const xor = (a: Code, b: Code): Code => [...a, ...b, 0x73];
export const not = (a: Code): Code => xor(a, int(-1));
export const shiftRight = (a: Code, by: Code): Code => [...a, ...by, 0x76];
export const leadingZeros = (a: Code): Code => [...a, 0x67];
/** Unsigned; 1 or 0. */
export const less = (a: Code, b: Code): Code => [...a, ...b, 0x49];

/** Of 64 bits. */
export const addLong = (a: Code, b: Code): Code => [...a, ...b, 0x7c];
export const multiplyLong = (a: Code, b: Code): Code => [...a, ...b, 0x7e];
export const toLong = (a: Code): Code => [...a, 0xad];
export const upperHalf = (a: Code): Code => [...a, 0x42, ...signed(32), 0x88, 0xa7];

/** From the byte at `address` + `offset`, which need not be aligned; the least significant byte first. */
export const load = (address: Code, offset: number): Code => [...address, 0x28, 0, ...unsigned(offset)];
export const loadLong = (address: Code, offset: number): Code => [...address, 0x29, 0, ...unsigned(offset)];
export const store = (address: Code, offset: number, value: Code): Code => [
  ...address,
  ...value,
  ...[0x36, 0],
  ...unsigned(offset),
];

export const when = (condition: Code, ...body: Code[]): Code => [...condition, 0x04, NO_VALUE, ...body.flat(), END];
/** Runs the body once, and again as long as the condition holds behind it. */
export const repeat = (body: Code[], condition: Code): Code => [
  ...[0x03, NO_VALUE],
  ...body.flat(),
  ...[...condition, 0x0d, 0],
  END,
];

/** The module. The value of the last code is what the function returns. */
export function wasmModule(parameters: number, locals: readonly Local[], body: readonly Code[]): Uint8Array {
  const own = locals.slice(parameters).map(({ type }) => [1, TYPE[type]]);
  const code = [...list(own), ...body.flat(), END];
  const takes = Array.from({ length: parameters }, () => [TYPE.i32]);
  return Uint8Array.from([
    ...HEAD,
    ...section(SECTION.types, [[FUNCTION, ...list(takes), ...list([[TYPE.i32]])]]),
    ...section(SECTION.functions, [[0]]),
    ...section(SECTION.memories, [[1, 1, 1]]),
    ...section(SECTION.exports, [
      [...text("memory"), EXPORT.memory, 0],
      [...text("run"), EXPORT.function, 0],
    ]),
    ...section(SECTION.code, [[...unsigned(code.length), ...code]]),
  ]);
}

function section(id: number, items: readonly Code[]): Code {
  const body = list(items);
  return [id, ...unsigned(body.length), ...body];
}

function list(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

function text(ascii: string): Code {
  return [...unsigned(ascii.length), ...Array.from(ascii, (letter) => letter.charCodeAt(0))];
}

/** LEB128, seven bits a byte. */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): Code {
  return value >= -0x40 && value < 0x40 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}
