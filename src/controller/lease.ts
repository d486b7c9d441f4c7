/** The part of coordination.k8s.io/v1 Lease that an election uses; the rest is carried along. */
export interface Lease {
  readonly apiVersion: "coordination.k8s.io/v1";
  readonly kind: "Lease";
  readonly metadata: { readonly name: string; readonly namespace: string; readonly resourceVersion?: string };
  readonly spec: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    /** RFC 3339 with microseconds. */
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

/** Where the Lease is kept. All reject when there is no answer. */
export interface LeaseStore {
  /** Null: there is none yet. */
  read(): Promise<Lease | null>;
  /** Null: somebody else has made or changed it meanwhile. */
  create(lease: Lease): Promise<Lease | null>;
  replace(lease: Lease): Promise<Lease | null>;
}

export interface LeaseTimes {
  /** For this long nobody takes the Lease after it was last renewed. */
  readonly durationMs: number;
  /** Who could not renew it for this long stops leading, well before another may begin. */
  readonly giveUpMs: number;
  readonly everyMs: number;
}

export const LEASE_TIMES: LeaseTimes = { durationMs: 15_000, giveUpMs: 10_000, everyMs: 2_000 };

export interface LeaseClock {
  /** Monotonic milliseconds. */
  now(): number;
  /** For what is written into the Lease; nobody's decision depends on it. */
  date(): Date;
}

const CLOCK: LeaseClock = { now: () => performance.now(), date: () => new Date() };

/**
 * One of several replicas leads: who holds the Lease and renews it. Clocks of other machines are not trusted: a Lease has run out when this
 * replica has seen no change of it for its duration.
 */
export class Election {
  readonly #store: LeaseStore;
  readonly #name: { readonly name: string; readonly namespace: string };
  readonly #identity: string;
  readonly #times: LeaseTimes;
  readonly #clock: LeaseClock;
  #seen: Lease | null = null;
  /** When `#seen` was last another one than before. */
  #seenAt = Number.NEGATIVE_INFINITY;
  #renewedAt = Number.NEGATIVE_INFINITY;
  #held = false;

  constructor(
    store: LeaseStore,
    name: { readonly name: string; readonly namespace: string },
    identity: string,
    times: LeaseTimes = LEASE_TIMES,
    clock: LeaseClock = CLOCK,
  ) {
    this.#store = store;
    this.#name = name;
    this.#identity = identity;
    this.#times = times;
    this.#clock = clock;
  }

  /** Whether this replica leads at this moment: asked before each write, for time passes between two tries. */
  get leads(): boolean {
    return this.#held && this.#clock.now() - this.#renewedAt < this.#times.giveUpMs;
  }

  get holder(): string | null {
    return this.#seen?.spec.holderIdentity ?? null;
  }

  /** One try to get or keep the Lease. Rejects when the store does. */
  async step(): Promise<void> {
    const begun = this.#clock.now();
    const found = await this.#store.read();
    this.#observe(found);
    if (found === null) return this.#wrote(begun, await this.#store.create(this.#claim(null)));
    const { holderIdentity = "" } = found.spec;
    const free = holderIdentity === "" || this.#clock.now() - this.#seenAt >= durationOf(found, this.#times);
    if (holderIdentity !== this.#identity && !free) {
      this.#held = false;
      return;
    }
    this.#wrote(begun, await this.#store.replace(this.#claim(found)));
  }

  /** Lets go, so that another need not wait. */
  async release(): Promise<void> {
    const held = this.leads ? this.#seen : null;
    this.#held = false;
    if (held === null) return;
    await this.#store.replace({
      ...held,
      spec: { ...held.spec, holderIdentity: "", renewTime: stamp(this.#clock.date()) },
    });
  }

  #wrote(begun: number, written: Lease | null): void {
    this.#held = written !== null;
    if (written === null) return;
    // From before the request: another counts from when it saw the change, which is later.
    this.#renewedAt = begun;
    this.#observe(written);
  }

  #observe(lease: Lease | null): void {
    if (
      lease?.metadata.resourceVersion === this.#seen?.metadata.resourceVersion &&
      lease !== null &&
      this.#seen !== null
    )
      return;
    this.#seen = lease;
    this.#seenAt = this.#clock.now();
  }

  #claim(found: Lease | null): Lease {
    const now = stamp(this.#clock.date());
    const mine = found?.spec.holderIdentity === this.#identity;
    return {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: found?.metadata ?? this.#name,
      spec: {
        ...found?.spec,
        holderIdentity: this.#identity,
        leaseDurationSeconds: Math.round(this.#times.durationMs / 1000),
        acquireTime: mine ? (found.spec.acquireTime ?? now) : now,
        renewTime: now,
        leaseTransitions: (found?.spec.leaseTransitions ?? 0) + (mine || found === null ? 0 : 1),
      },
    };
  }
}

/** What its holder promised, within reason. */
function durationOf({ spec }: Lease, { durationMs }: LeaseTimes): number {
  const promised = (spec.leaseDurationSeconds ?? 0) * 1000;
  return promised > 0 && promised <= 10 * durationMs ? promised : durationMs;
}

/** metav1.MicroTime. */
function stamp(date: Date): string {
  return date.toISOString().replace("Z", "000Z");
}
