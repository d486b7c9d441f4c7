import { join } from "node:path";
import type { HandedFlow } from "../inspector/recall.ts";
import type { Conntrack } from "../kernel/conntrack.ts";
import { type MarkLayout, stateOf } from "../kernel/marks.ts";
import { STATE } from "../model/verdict.ts";
import { boundariesName } from "./journal/folder.ts";
import type { LaneHandle } from "./lane-handle.ts";
import type { Logger } from "./log.ts";
import type { Place } from "./succession/place.ts";
import { flowOf } from "./translation.ts";

/** Where HTTP flows note where they stand; null: there is no folder for that. */
export function boundariesFile({ folder, generation, lock }: Place): string | null {
  return lock === null ? null : join(folder, boundariesName(generation));
}

/**
 * A lane that has begun knows where HTTP flows of the one before stood; conntrack knows which of them are still there. Until the
 * lane is told, it drops their packets. Never throws.
 */
export function tellHanded(
  conntrack: Conntrack,
  marks: MarkLayout,
  lane: Pick<LaneHandle, "send">,
  log: Pick<Logger, "warn">,
): void {
  const flows: HandedFlow[] = [];
  try {
    for (const family of ["ipv4", "ipv6"] as const) {
      conntrack.dump(family, (entry) => {
        if (stateOf(marks, entry.mark) === STATE.http) flows.push({ tuple: flowOf(entry), start: entry.start });
      });
    }
  } catch (error) {
    flows.length = 0;
    log.warn({ event: "http-forgotten", error: String(error) }, "conntrack does not tell which HTTP flows go on");
  }
  lane.send({ kind: "handed", flows });
}
