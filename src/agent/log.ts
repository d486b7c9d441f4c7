import { type Logger as PinoLogger, pino } from "pino";

export type Logger = PinoLogger;

/** Told of every warning and error that is logged. */
export type OnProblem = (level: "warn" | "error", event: string, message: string) => void;

const WARN = 40;
const ERROR = 50;

/** JSON lines on stderr; every line says which `event` it is. */
export function createLogger(level = "info", onProblem: OnProblem = () => undefined): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: {
        logMethod(words, method, number) {
          if (number >= WARN) tell(onProblem, number, words);
          method.apply(this, words);
        },
      },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}

interface Fields {
  readonly event?: unknown;
  readonly error?: unknown;
  readonly reason?: unknown;
  readonly problem?: unknown;
  readonly problems?: unknown;
}

function tell(onProblem: OnProblem, number: number, words: readonly unknown[]): void {
  const [fields, message = ""] = words as [Fields, string?];
  const why = fields.error ?? fields.reason ?? fields.problem ?? fields.problems ?? "";
  const text = [message, why].map(String).filter((part) => part !== "");
  onProblem(number >= ERROR ? "error" : "warn", String(fields.event), text.join(": "));
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

/** An error of ours for the log, with where it came from. */
export function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
