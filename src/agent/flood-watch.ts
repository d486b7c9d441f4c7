import { POLICE_RATES } from "../kernel/ruleset-police.ts";
import type { Address } from "../net/address.ts";

/** Packets of an unbroken run of full batches after which the queue is looked at: 5 ms of work. */
export const LOOK_EVERY = 512;
/** The same in ms, for a lane that does less in that time: code that has not run yet is ten times slower, and a flood fills the queue in 40 ms. */
export const LOOK_EVERY_MS = 5;
/**
 * So many packets wait when the queue counts as crowded: an eighth of it, 10 ms of work. Clients that wait for their answers
 * do not come to it, and an honest pod's packet still finds room.
 */
export const CROWDED = 1_024;
/** Parts of the sample below which nobody is held to be the one who crowds. */
const LEAST_PART = 1 / 40;
/** Of what the lane can do, policed pods together may have so much: the others find it idle. */
const POLICED_PART = 1 / 4;
/** What waits when a pod is policed is read before its effect shows: as many as the queue holds. */
const EFFECT_AFTER_PACKETS = 8_192;
const EFFECT_AFTER_MS = 250;
/** A pod that did not crowd for so long begins at the highest rate again. */
const FORGIVEN_AFTER_MS = 60_000;

export interface Offender {
  readonly address: Address;
  /** Index in POLICE_RATES. */
  readonly step: number;
  /** False: it was told of already, and is only put there again. */
  readonly news: boolean;
}

interface Sampled {
  readonly address: Address;
  count: number;
}

interface Policed {
  step: number;
  /** Packets that the lane had read, and the time in ms. */
  readAt: number;
  changedAt: number;
  seenAt: number;
}

/**
 * Finds who crowds the strict queue, which all isolated pods share. Without a crowd it costs nothing: only packets of a run of full batches are
 * looked at, and of those each fourth. No clock and no I/O.
 */
export class FloodWatch {
  readonly #sample = new Map<string, Sampled>();
  readonly #policed = new Map<string, Policed>();
  #read = 0;
  #run = 0;
  #runBegan = 0;
  #sampled = 0;

  /** A batch was read from the strict queue; `full`: more may wait. `now` in ms. True: it is time to look at the queue. */
  batch(count: number, full: boolean, now: number): boolean {
    this.#read += count;
    if (!full) {
      if (this.#run > 0) this.#reset();
      return false;
    }
    if (this.#run === 0) this.#runBegan = now;
    this.#run += count;
    return this.#run >= LOOK_EVERY || now - this.#runBegan >= LOOK_EVERY_MS;
  }

  /** A packet of the run, by the address of its workload. */
  sample(address: Address): void {
    const key = keyOf(address);
    const known = this.#sample.get(key);
    if (known === undefined) this.#sample.set(key, { address, count: 1 });
    else known.count++;
    this.#sampled++;
  }

  /** Ends a look: `backlog` packets wait behind those sampled. Returns who is to be policed, most packets first. */
  look(backlog: number, now: number): Offender[] {
    const crowders = backlog < CROWDED ? [] : this.#crowders();
    const perSecond = (this.#run * 1000) / Math.max(1, now - this.#runBegan);
    this.#reset();
    if (crowders.length === 0) return [];
    this.#forgive(now);
    const fresh = crowders.filter(({ address }) => !this.#policed.has(keyOf(address))).length;
    const share = (perSecond * POLICED_PART) / (this.#policed.size + fresh);
    return crowders.flatMap(({ address }) => this.#sentence(address, share, now) ?? []);
  }

  /** Those with no less than the mean: one that floods has nearly all of the sample, and its neighbours a packet or two. */
  #crowders(): Sampled[] {
    const least = Math.max(this.#sampled / Math.max(1, this.#sample.size), this.#sampled * LEAST_PART);
    return [...this.#sample.values()].filter(({ count }) => count >= least).sort((a, b) => b.count - a.count);
  }

  #sentence(address: Address, share: number, now: number): Offender | null {
    const key = keyOf(address);
    const known = this.#policed.get(key);
    const last = POLICE_RATES.length - 1;
    if (known === undefined) {
      const fitting = POLICE_RATES.findIndex((rate) => rate <= share);
      const step = fitting < 0 ? last : fitting;
      this.#policed.set(key, { step, readAt: this.#read, changedAt: now, seenAt: now });
      return { address, step, news: true };
    }
    known.seenAt = now;
    if (this.#read - known.readAt < EFFECT_AFTER_PACKETS || now - known.changedAt < EFFECT_AFTER_MS) return null;
    const news = known.step < last;
    known.step = Math.min(known.step + 1, last);
    known.readAt = this.#read;
    known.changedAt = now;
    return { address, step: known.step, news };
  }

  #forgive(now: number): void {
    for (const [key, { seenAt }] of this.#policed) if (now - seenAt > FORGIVEN_AFTER_MS) this.#policed.delete(key);
  }

  #reset(): void {
    this.#run = 0;
    this.#sampled = 0;
    this.#sample.clear();
  }
}

function keyOf({ w0, w1, w2, w3 }: Address): string {
  return `${w0}.${w1}.${w2}.${w3}`;
}
