import type { Decision } from "../model/decision.ts";
import type { Walk } from "../program/layout.ts";
import type { Program } from "../program/program.ts";

/** Decides a DNS question by its name (canonical, as parsed; "" is the root). */
export function gateName(_program: Program, _cls: number, _name: string, _walk: Walk = "enforce"): Decision {
  throw new Error("not built yet");
}
