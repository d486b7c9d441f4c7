import type { Facts } from "../model/facts.ts";
import type { Program } from "../program/program.ts";

export const MOST_NAMES = 16;

/**
 * Names whose resolution could still decide a flow for which `decide` gave null; at most 16. Empty: no binding that the
 * agent could find would help (with the evidence known, the caller may then set `namesFinal`).
 */
export function namesToResolve(_program: Program, _cls: number, _facts: Facts): readonly string[] {
  throw new Error("not built yet");
}
