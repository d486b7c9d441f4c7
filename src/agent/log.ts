import { type Logger as PinoLogger, pino } from "pino";

export type Logger = PinoLogger;

/** JSON lines on stderr; every line says which `event` it is. */
export function createLogger(level = "info"): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}

/**
 * Lets one message of a kind through each interval and counts the rest, so that an error loop cannot fill a disk.
 * `allow` answers null (stay silent) or how many were held back since the last one.
 */
export class RateLimit {
  readonly #intervalMs: number;
  #next = 0;
  #suppressed = 0;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  allow(now: number): number | null {
    if (now < this.#next) {
      this.#suppressed++;
      return null;
    }
    this.#next = now + this.#intervalMs;
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    return suppressed;
  }
}
