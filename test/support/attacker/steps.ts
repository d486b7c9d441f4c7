import { clientHello, type HelloOptions } from "../hello.ts";
import type { Opening, Segment, Step } from "./script.ts";

/** Tiny constructors, so that a trick is a line. */
export const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes as string, "latin1").toString("base64");
export const open = (opening: Opening = {}): Step => ({ do: "open", ...opening });
export const wait = (ms: number): Step => ({ do: "wait", ms });
export const read = (count = 1, ms = 2500): Step => ({ do: "read", count, ms });
export const packet = (bytes: Uint8Array): Step => ({ do: "packet", bytes: base64(bytes) });
export const send = (at: number, data: Uint8Array | string, more: Partial<Segment> = {}): Step => ({
  do: "send",
  at,
  data: base64(data),
  ...more,
});

/** The bytes in segments of `size`, in order; `every` milliseconds between them. */
export function pieces(bytes: Uint8Array, size: number, every = 0, more: Partial<Segment> = {}): Step[] {
  const steps: Step[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    steps.push(send(at, bytes.subarray(at, at + size), more));
    if (every > 0) steps.push(wait(every));
  }
  return steps;
}

const SIGNATURES = Uint8Array.of(0, 8, 4, 3, 8, 4, 4, 1, 5, 3);

/** A ClientHello that OpenSSL answers with a ServerHello. */
export function hello(name: string | null, options: HelloOptions = {}): Uint8Array {
  const extra = [[13, SIGNATURES] as const, ...(options.extra ?? [])];
  return clientHello({ ...(name === null ? {} : { names: [name] }), ...options, extra });
}
