import { boundariesSize, RequestBoundaries } from "../inspector/request-boundaries.ts";
import { mapFile } from "../kernel/mapped-file.ts";

/** HTTP flows whose place is remembered: 8 MiB. One workload has an eighth of them at most. */
const ROWS = 4096;

/**
 * Opens the file in which HTTP flows note where they stand. `rows` null: they are forgotten with this agent. So they are where
 * packets may pass unseen (`failMode: Open`): what was noted before is wiped then, for it is no longer true.
 */
export function openBoundaries(
  path: string | null,
  failOpen: boolean,
): { readonly rows: RequestBoundaries | null; readonly problem: string | null } {
  if (path === null) return { rows: null, problem: null };
  try {
    const rows = new RequestBoundaries(mapFile(path, boundariesSize(ROWS)), ROWS / 8);
    if (!failOpen) return { rows, problem: null };
    rows.wipe();
    return { rows: null, problem: null };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { rows: null, problem: `kept HTTP connections will not outlive this agent: ${reason}` };
  }
}
