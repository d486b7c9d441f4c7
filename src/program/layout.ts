/** Which policies a walk follows: those that are enforced, or these and the Audit ones. */
export type Walk = "enforce" | "all";

/** One compiled epoch: shared buffers and a few strings. Opened by `openProgram`. */
export interface ProgramData {
  readonly epoch: number;
}
