import { describe, expect, test } from "vitest";
import { Recollection } from "../../../src/agent/journal/recollection.ts";
import { NameTable } from "../../../src/names/table.ts";
import { compileScene, workload } from "../../support/cases.ts";
import { tupleTo } from "../flow/events.ts";
import { binding, opened, remembered } from "./records.ts";

const HOUR = 3_600_000;
const WEEK = 168 * HOUR;
const DECIDED = remembered(1).since;
const program = compileScene({ policies: [], workloads: [workload(1, "ns/one")] });

/**
 * A running agent does not see the machine's clock step: its time goes on from when it began. An agent that is started
 * after a step reads times that were written before it.
 */
function restartedAt(now: number) {
  const names = new NameTable({ bindingsPerWorkload: 10 });
  const recollection = new Recollection({ idOf: () => 1, program, names, now });
  recollection.take(opened(1));
  recollection.take(binding("api.github.com", DECIDED + HOUR));
  return { recollection, longest: Math.max(0, ...[...names.all(now)].map(({ expires }) => expires - now)) };
}

describe("a restart after the clock was set", () => {
  test("forward by a day: bindings have run out and are asked for again, flows are remembered", () => {
    const { recollection, longest } = restartedAt(DECIDED + 24 * HOUR);
    expect(longest).toBe(0);
    expect(recollection.recall(tupleTo(1), DECIDED + 5)).toMatchObject({ name: "api.github.com" });
  });

  test("back by a year: no binding lasts longer than one that is learned now", () => {
    const { recollection, longest } = restartedAt(DECIDED - 52 * WEEK);
    expect(longest).toBe(WEEK);
    expect(recollection.recall(tupleTo(1), DECIDED + 5)).toMatchObject({ name: "api.github.com" });
  });

  test("a flow of between the step and the restart: forward, it is judged by its address; back, it is remembered", () => {
    const { recollection } = restartedAt(DECIDED + HOUR);
    expect(recollection.recall(tupleTo(1), DECIDED + HOUR)).toBeNull();
    expect(recollection.recall(tupleTo(1), DECIDED - HOUR)).not.toBeNull();
  });
});
