export interface Problem {
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly level: "warn" | "error";
  readonly event: string;
  readonly message: string;
  /** How often this event was logged one after the other. */
  readonly times: number;
}

const KEPT = 20;
const MOST_EVENTS = 64;
const MOST_CHARACTERS = 400;
const OTHER_EVENT = "(other)";

/** What the agent has complained about lately, as its log has it: the last ones, and how often each kind. */
export class Problems {
  #last: Problem[] = [];
  readonly #counts = new Map<string, number>();

  add(level: Problem["level"], event: string, message: string): void {
    const known = this.#counts.has(event) || this.#counts.size < MOST_EVENTS ? event : OTHER_EVENT;
    this.#counts.set(known, (this.#counts.get(known) ?? 0) + 1);
    const before = this.#last.at(-1);
    const times = before?.event === known ? before.times + 1 : 1;
    if (times > 1) this.#last.pop();
    const time = new Date().toISOString();
    this.#last.push({ time, level, event: known, message: message.slice(0, MOST_CHARACTERS), times });
    if (this.#last.length > KEPT) this.#last.shift();
  }

  /** Oldest first. */
  last(): readonly Problem[] {
    return [...this.#last];
  }

  counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }
}
