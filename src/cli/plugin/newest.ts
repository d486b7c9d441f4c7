import type { FlowRecord } from "../../flow/record.ts";

/** Keeps the newest of many records, in memory for twice as many. */
export class NewestRecords {
  readonly #most: number;
  #records: FlowRecord[] = [];
  /** Records that were older. */
  leftOut = 0;

  constructor(most: number) {
    this.#most = most;
  }

  add(record: FlowRecord): void {
    this.#records.push(record);
    if (this.#records.length > 2 * this.#most + 16) this.#cut();
  }

  /** In order of time. */
  get records(): readonly FlowRecord[] {
    this.#cut();
    return this.#records;
  }

  #cut(): void {
    this.#records.sort(byTime);
    const over = this.#records.length - this.#most;
    if (over <= 0) return;
    this.leftOut += over;
    this.#records = this.#records.slice(over);
  }
}

/** Times are of one form, so their order is that of their texts; records of one time stay as they came. */
export function byTime(a: FlowRecord, b: FlowRecord): number {
  return a.time < b.time ? -1 : a.time > b.time ? 1 : 0;
}
