/** Milliseconds since the epoch that never step back: the clock of the machine as it stood when the process began. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}
