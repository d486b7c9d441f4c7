/** Exit statuses, as docs/guide/cli.md has them. */
export const EXIT = {
  ok: 0,
  /** What was checked did not hold: invalid documents, failing cases. */
  failed: 1,
  /** The command could not do its work: wrong usage, unreadable input, missing privilege. */
  usage: 2,
} as const;

/** A failure that the user can mend: its message is printed as it stands, without a stack, and the exit status is 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** One line for the user; the stack only where the program itself is at fault. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const ownFault = error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
  return ownFault ? (error.stack ?? error.message) : error.message;
}
