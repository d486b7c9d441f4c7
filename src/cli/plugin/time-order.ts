import type { FlowRecord } from "../../flow/record.ts";
import { byTime } from "./newest.ts";

/** How long a record waits for earlier ones of other nodes. */
const HOLD_MS = 500;
/** More than these do not wait for each other. */
const MOST = 10_000;

interface Held {
  readonly record: FlowRecord;
  readonly arrived: number;
}

/** Brings records of several nodes into order of time, as far as half a second reaches. */
export class TimeOrder {
  #held: Held[] = [];
  #sorted = true;

  /** More should not be given before some were taken. */
  get full(): boolean {
    return this.#held.length >= MOST;
  }

  /** `now`: milliseconds of a clock that never goes back. */
  add(record: FlowRecord, now: number): void {
    this.#held.push({ record, arrived: now });
    this.#sorted = false;
  }

  /** Those that have waited long enough, or all; the earliest first. */
  take(now: number, all = false): FlowRecord[] {
    if (!this.#sorted) this.#held.sort((a, b) => byTime(a.record, b.record));
    this.#sorted = true;
    let count = this.#held.length;
    if (!all && !this.full) {
      const young = this.#held.findIndex(({ arrived }) => now - arrived < HOLD_MS);
      if (young >= 0) count = young;
    }
    const taken = this.#held.slice(0, count).map(({ record }) => record);
    this.#held = this.#held.slice(count);
    return taken;
  }
}
