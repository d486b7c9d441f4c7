import type { Workload } from "../model/workload.ts";
import { type Address, formatAddress } from "../net/address.ts";
import type { Logger } from "./log.ts";

const REPORT_EVERY_MS = 10_000;
/** Reports without a dropped packet until no more are made. */
const QUIET_REPORTS = 3;
/** Lines of one report; what the other workloads lost is summed up. */
const MOST_LINES = 8;
/** Workloads that are counted by name; the others together. */
const MOST_NAMES = 256;
const OTHERS = "(other)";
const NOBODY = "(unknown)";

/** Packets that were dropped since the rules were installed, by address. */
export type ReadDropped = () => Promise<ReadonlyMap<string, number>>;

/** Says which workloads are policed for a flood, and how much of theirs was dropped: in the log, and in numbers. */
export class Floods {
  readonly #read: ReadDropped;
  readonly #log: Logger;
  readonly #names = new Map<string, string>();
  readonly #byId = new Map<number, string>();
  /** Packets by address when last read. */
  #last: ReadonlyMap<string, number> = new Map();
  readonly #dropped = new Map<string, number>();
  /** Times that something was said of a workload. */
  readonly #said = new Map<string, number>();
  /** What the last report said. */
  readonly #told = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;
  #reading: Promise<void> | null = null;
  #quiet = 0;
  /** Times that a workload was policed, or at a lower rate than before. */
  policed = 0;
  /** Times that a workload was kept from opening flows. */
  crowding = 0;

  constructor(read: ReadDropped, log: Logger) {
    this.#read = read;
    this.#log = log;
  }

  setWorkloads(workloads: readonly Workload[]): void {
    this.#names.clear();
    this.#byId.clear();
    for (const { id, namespace, name, addresses } of workloads) {
      this.#byId.set(id, `${namespace}/${name}`);
      for (const address of addresses) this.#names.set(formatAddress(address), `${namespace}/${name}`);
    }
  }

  /** The lane has told the kernel to drop what `address` asks beyond `perSecond`. */
  onPoliced(address: Address, perSecond: number): void {
    this.policed++;
    const text = formatAddress(address);
    this.#note(this.#nameOf(text));
    this.#log.warn(
      { event: "flood-policed", workload: this.#nameOf(text), address: text, perSecond },
      "this workload crowds the queue: what it asks beyond the rate is dropped",
    );
    this.#watch();
  }

  /** The kernel opens no new flows for `address`, whose workload has so many entries, of `limit` that conntrack holds. `news`: it did a moment ago. */
  onCrowding(address: Address, entries: number, limit: number, news: boolean): void {
    this.#watch();
    const text = formatAddress(address);
    this.#note(this.#nameOf(text));
    if (!news) return;
    this.crowding++;
    this.#log.warn(
      { event: "conntrack-crowded", workload: this.#nameOf(text), address: text, entries, limit },
      "this workload has more than its share of conntrack: it opens no new flows until that is over",
    );
  }

  /** The kernel opens no new flows of sources that no workload owns, which have so many entries together. */
  onUnknownCrowding(entries: number, limit: number, news: boolean): void {
    if (!news) return;
    this.crowding++;
    this.#log.warn(
      { event: "conntrack-crowded", workload: NOBODY, entries, limit },
      "sources in the pods' ranges that no workload owns have more than a share of conntrack: they open no new flows until that is over",
    );
  }

  /** These open flows faster than they can be recorded: the kernel opens none of theirs for a while. */
  onBarred(workloads: readonly number[]): void {
    for (const id of workloads) {
      const workload = this.#byId.get(id) ?? NOBODY;
      this.#note(workload);
      this.#log.warn(
        { event: "flows-crowded", workload },
        "this workload opens flows faster than they can be recorded: each is asked about for a while",
      );
    }
  }

  /** Dropped packets by workload, `namespace/name`, since the agent began. Asks the kernel only while there is a flood. */
  async dropped(): Promise<ReadonlyMap<string, number>> {
    if (this.#timer !== null) {
      this.#reading ??= this.#count().finally(() => {
        this.#reading = null;
      });
      await this.#reading;
    }
    return this.#dropped;
  }

  /** A number that grows whenever something that this workload sent was dropped for a flood, as far as that was read. */
  signsOf(workloadId: number): number {
    const name = this.#byId.get(workloadId) ?? NOBODY;
    return (this.#said.get(name) ?? 0) + (this.#dropped.get(name) ?? 0);
  }

  #note(name: string): void {
    const key = this.#said.has(name) || this.#said.size < MOST_NAMES ? name : OTHERS;
    this.#said.set(key, (this.#said.get(key) ?? 0) + 1);
  }

  #watch(): void {
    this.#quiet = 0;
    this.#timer ??= setInterval(() => void this.#report(), REPORT_EVERY_MS).unref();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** The kernel's counts begin anew with each install of the rules. */
  async #count(): Promise<void> {
    const now = await this.#read();
    for (const [address, packets] of now) {
      const before = this.#last.get(address) ?? 0;
      const more = packets >= before ? packets - before : packets;
      if (more === 0) continue;
      const name = this.#nameOf(address);
      const key = this.#dropped.has(name) || this.#dropped.size < MOST_NAMES ? name : OTHERS;
      this.#dropped.set(key, (this.#dropped.get(key) ?? 0) + more);
    }
    this.#last = now;
  }

  async #report(): Promise<void> {
    const news: [string, number][] = [];
    for (const [name, packets] of await this.dropped()) {
      const more = packets - (this.#told.get(name) ?? 0);
      if (more > 0) news.push([name, more]);
      this.#told.set(name, packets);
    }
    news.sort(([, a], [, b]) => b - a);
    const rest = news.splice(MOST_LINES).reduce((sum, [, packets]) => sum + packets, 0);
    if (rest > 0) news.push([OTHERS, rest]);
    for (const [workload, packets] of news) {
      const seconds = REPORT_EVERY_MS / 1000;
      this.#log.warn({ event: "flood-dropped", workload, packets, seconds }, "packets of a flood were dropped");
    }
    this.#quiet = news.length > 0 ? 0 : this.#quiet + 1;
    if (this.#quiet >= QUIET_REPORTS) this.close();
  }

  #nameOf(address: string): string {
    return this.#names.get(address) ?? NOBODY;
  }
}
