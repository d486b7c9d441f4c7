import type { Decision } from "../model/decision.ts";
import type { Facts } from "../model/facts.ts";
import type { Walk } from "../program/layout.ts";
import type { Program } from "../program/program.ts";

/** Decides a flow on what is known of it; null: not yet, more facts are needed. Never null once `facts.ended`. */
export function decide(_program: Program, _cls: number, _facts: Facts, _walk: Walk): Decision | null {
  throw new Error("not built yet");
}
