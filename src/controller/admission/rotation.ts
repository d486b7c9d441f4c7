import type { ServingPair } from "./certificate.ts";
import { endOf, type Serving } from "./serving-secret.ts";

export interface RotationTimes {
  /** How long a certificate is good. */
  readonly lifeMs: number;
  /** How long every API server has had the CA of the next certificate before it is served. */
  readonly switchMs: number;
  /** How long every replica has had the new certificate before the CA of the old one is not trusted any more. */
  readonly dropMs: number;
}

/** The times that go with a life: both waits fit many times into the third of it that is left when a certificate is replaced. */
export function rotationTimes(lifeMs: number): RotationTimes {
  return { lifeMs, switchMs: Math.min(60_000, lifeMs / 18), dropMs: Math.min(600_000, lifeMs / 6) };
}

export interface RotationInput {
  readonly shared: Serving;
  /** What this replica serves; null: nothing. It is gone on with where what is shared was taken away, for others may serve it too. */
  readonly served: ServingPair | null;
  /** Milliseconds of Unix time. */
  readonly now: number;
  /** How long what is shared has been as it is, and the API server has been told to trust it. */
  readonly steadyMs: number;
}

/**
 * What is to be shared next; null: what is. One step at a time, so that at each moment whatever certificate some replica serves is trusted by every
 * API server, whatever it has heard last:
 *
 * 1. there is none that is good: make one. If this replica still serves one, that one stays until 3;
 * 2. a third of its life is left: make the next one, and trust both CAs;
 * 3. every API server trusts both: serve the next one;
 * 4. every replica serves it: trust only its CA.
 */
export function nextServing(input: RotationInput, times: RotationTimes, make: () => ServingPair): Serving | null {
  const { shared, now, steadyMs } = input;
  const { current, next, trusted } = shared;
  const good = (pair: ServingPair | null): pair is ServingPair => pair !== null && endOf(pair) > now;
  if (!good(current)) {
    if (good(input.served)) return succeeded(input.served, make());
    const pair = make();
    return { current: pair, next: null, trusted: [pair.ca] };
  }
  if (!trusted.includes(current.ca) || (next !== null && !trusted.includes(next.ca))) {
    return { current, next, trusted: next === null ? [current.ca] : [current.ca, next.ca] };
  }
  if (next !== null) {
    if (!good(next)) return { current, next: null, trusted: [current.ca] };
    return steadyMs >= times.switchMs ? { current: next, next: null, trusted } : null;
  }
  if (endOf(current) - now < times.lifeMs / 3) return succeeded(current, make());
  const others = trusted.some((ca) => ca !== current.ca);
  return others && steadyMs >= times.dropMs ? { current, next, trusted: [current.ca] } : null;
}

function succeeded(current: ServingPair, next: ServingPair): Serving {
  return { current, next, trusted: [current.ca, next.ca] };
}
