import { expect, test } from "vitest";
import { StatusPace } from "../../../src/controller/status-pace.ts";
import type { PolicyStatusText } from "../../../src/policy/status-schema.ts";

function status(selectedPods: number, over: { generation?: number; reason?: string } = {}): PolicyStatusText {
  const { generation = 1, reason = "Programmed" } = over;
  const condition = {
    ...({ type: "Programmed", status: reason === "Programmed" ? "True" : "False", reason } as const),
    ...{
      message: `${selectedPods}/9 nodes`,
      observedGeneration: generation,
      lastTransitionTime: "2026-01-01T00:00:00Z",
    },
  };
  return { observedGeneration: generation, conditions: [condition], selectedPods };
}

test("numbers alone are written again after 10 ms for each node; what somebody waits for at once", () => {
  let nodes = 5_000;
  const pace = new StatusPace(() => nodes);
  expect(pace.wait("a", {}, status(1), 0)).toBe(0);
  pace.wrote("a", 0);
  expect(pace.wait("a", status(1), status(2), 1_000)).toBe(49_000);
  expect(pace.wait("b", status(1), status(2), 1_000)).toBe(0);
  expect(pace.wait("a", status(1), status(2, { generation: 2 }), 1_000)).toBe(0);
  expect(pace.wait("a", status(1), status(2, { reason: "Pending" }), 1_000)).toBe(0);
  expect(pace.wait("a", status(1), status(2), 50_000)).toBe(0);
  nodes = 3;
  pace.wrote("a", 60_000);
  expect(pace.wait("a", status(1), status(2), 60_030)).toBe(0);
});

test("a write puts the pause off anew, and what is over is forgotten", () => {
  const pace = new StatusPace(() => 100);
  pace.wrote("a", 0);
  pace.wrote("a", 600);
  expect(pace.wait("a", status(1), status(2), 1_100)).toBe(500);
  pace.wrote("b", 1_700);
  expect(pace.wait("a", status(1), status(2), 1_100)).toBe(0);
});
