/** What one asker has of something that all of them share. */
export interface Holding {
  /** The address that it came from. */
  readonly from: string;
}

interface Share {
  size: number;
  readonly holdings: Map<Holding, number>;
}

/**
 * Bounds something that all addresses share, so that none can take it all: where it runs out, the address that has the most gives up its
 * largest holding. So who has no more than its part (the whole, by the number of addresses that have some) never loses anything, however
 * much others ask for.
 */
export class FairShares<H extends Holding> {
  readonly #most: number;
  readonly #byAddress = new Map<string, Share>();
  #all = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Of all. */
  get size(): number {
    return this.#all;
  }

  /** Of one address, in holdings. */
  countOf(from: string): number {
    return this.#byAddress.get(from)?.holdings.size ?? 0;
  }

  /** @returns what has to go, already taken off; the one that grows may be among it. Some hundred steps at most for each address. */
  grow(holding: H, by: number): readonly H[] {
    const share = this.#byAddress.get(holding.from) ?? { size: 0, holdings: new Map<Holding, number>() };
    this.#byAddress.set(holding.from, share);
    share.holdings.set(holding, (share.holdings.get(holding) ?? 0) + by);
    share.size += by;
    this.#all += by;
    const gone: H[] = [];
    while (this.#all > this.#most) {
      const one = this.#largest() as H;
      this.release(one);
      gone.push(one);
    }
    return gone;
  }

  /** Also of what has gone already. */
  release(holding: H): void {
    const share = this.#byAddress.get(holding.from);
    const size = share?.holdings.get(holding);
    if (share === undefined || size === undefined) return;
    share.holdings.delete(holding);
    share.size -= size;
    this.#all -= size;
    if (share.holdings.size === 0) this.#byAddress.delete(holding.from);
  }

  #largest(): Holding {
    const largest = [...this.#byAddress.values()].reduce((a, b) => (b.size > a.size ? b : a));
    // Of equals the last: who waits longest keeps its place.
    return [...largest.holdings].reduce((a, b) => (b[1] >= a[1] ? b : a))[0];
  }
}
