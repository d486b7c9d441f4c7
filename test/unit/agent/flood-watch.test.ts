import { describe, expect, test } from "vitest";
import { CROWDED, FloodWatch, LOOK_EVERY, LOOK_EVERY_MS, type Offender } from "../../../src/agent/flood-watch.ts";
import { POLICE_RATES } from "../../../src/kernel/ruleset-police.ts";
import { formatAddress, parseAddress } from "../../../src/net/address.ts";

const BATCH = 64;
const address = (text: string) => parseAddress(text)!;
const WILD = "10.244.1.2";

/** Time goes by as the lane works: so many packets a second. */
class Lane {
  readonly watch = new FloodWatch();
  now = 0;
  readonly perSecond: number;

  constructor(perSecond = 100_000) {
    this.perSecond = perSecond;
  }

  /** One run of full batches up to a look, whose packets come from `senders` in turn; then `backlog` wait. */
  run(senders: readonly string[], backlog = 4_000): Offender[] {
    for (let read = 0; ; read += BATCH) {
      const due = this.watch.batch(BATCH, true, this.now);
      this.now += (BATCH / this.perSecond) * 1000;
      for (let packet = 0; packet < BATCH / 4; packet++)
        this.watch.sample(address(senders[(read / 4 + packet) % senders.length]!));
      if (due) return this.watch.look(backlog, this.now);
    }
  }
}

const flood = (...others: string[]) => [...Array(31).fill(WILD), ...others] as string[];
const told = (offenders: readonly Offender[]) =>
  offenders.map(({ address: one, step, news }) => `${formatAddress(one)} ${POLICE_RATES[step]} ${news}`);

describe("who crowds the queue", () => {
  test("is the one with nearly all of it, not its neighbours", () => {
    expect(told(new Lane().run(flood("10.244.1.3")))).toEqual([`${WILD} 16000 true`]);
  });

  test("is a pod alone, too: there would be no room for the first packet of another", () => {
    expect(told(new Lane().run([WILD]))).toEqual([`${WILD} 16000 true`]);
  });

  test("are several that share it, each held to a part", () => {
    const both = new Lane().run([WILD, "fd00:244::7", "10.244.1.9", WILD, "fd00:244::7"]);
    expect(told(both)).toEqual([`${WILD} 4000 true`, "fd00:244::7 4000 true"]);
  });

  test("is nobody while few wait, however busy a pod is", () => {
    expect(new Lane().run(flood(), CROWDED - 1)).toEqual([]);
  });
});

describe("a run of full batches", () => {
  test("is looked at once it is long enough", () => {
    const watch = new FloodWatch();
    const looks = Array.from({ length: LOOK_EVERY / BATCH }, () => watch.batch(BATCH, true, 0));
    expect(looks).toEqual([...Array(LOOK_EVERY / BATCH - 1).fill(false), true]);
  });

  test("is looked at after a time, too: what a lane does before its code is warm is little, and the queue fills meanwhile", () => {
    const watch = new FloodWatch();
    const batch = (now: number) => watch.batch(BATCH, true, now);
    expect([batch(100), batch(100 + LOOK_EVERY_MS / 2), batch(100 + LOOK_EVERY_MS)]).toEqual([false, false, true]);
    watch.look(0, 100 + LOOK_EVERY_MS);
    expect([batch(200), batch(200 + LOOK_EVERY_MS)]).toEqual([false, true]);
  });

  test("ends with a batch that is not full", () => {
    const watch = new FloodWatch();
    for (let turn = 0; turn < 100; turn++) {
      expect(watch.batch(BATCH, true, 0)).toBe(false);
      expect(watch.batch(3, false, 0)).toBe(false);
    }
  });
});

describe("a pod that is policed", () => {
  test("by a slow lane is held to less at once", () => {
    expect(told(new Lane(6_000).run(flood()))).toEqual([`${WILD} 1000 true`]);
  });

  test("is let be until what waited is read, then held to less, and in the end only held again", () => {
    const lane = new Lane();
    const steps: string[] = [];
    for (let turn = 0; turn < 400; turn++) steps.push(...told(lane.run(flood())));
    expect(steps.slice(0, 4)).toEqual([16000, 4000, 1000, 1000].map((rate, i) => `${WILD} ${rate} ${i < 3}`));
    // Two seconds have gone by: no more than four changes in one of them.
    expect(steps.length).toBeLessThanOrEqual(9);
  });

  test("begins anew after a minute without a crowd", () => {
    const lane = new Lane();
    lane.run(flood());
    lane.now += 61_000;
    expect(told(lane.run(flood()))).toEqual([`${WILD} 16000 true`]);
  });
});
