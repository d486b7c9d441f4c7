import { expect, test } from "vitest";
import { Vacancies } from "../../../src/agent/vacancies.ts";
import type { Workload } from "../../../src/model/workload.ts";
import { address, workload } from "../../support/cases.ts";

const pods = (...hosts: number[]): Workload[] =>
  hosts.map((host) => workload(host, `ns/pod${host}`, { addresses: [address(`10.244.${host >> 8}.${host & 255}`)] }));

/** At which of these times an entry of `10.244.0.HOST` can have begun, to be nobody's. */
function nobodys(vacancies: Vacancies, host: number, ...starts: number[]): boolean[] {
  return starts.map((start) => vacancies.isOfNobody(address(`10.244.${host >> 8}.${host & 255}`), start));
}

test("what was there before anybody looked, or began nobody knows when, is not said to be nobody's", () => {
  const vacancies = new Vacancies();
  vacancies.note(pods(1), 1_000);
  expect(nobodys(vacancies, 2, 0, 999, 1_000, 1_001)).toEqual([false, false, false, true]);
});

test("what a pod has left behind is not of who sends with its address after it", () => {
  const vacancies = new Vacancies();
  vacancies.note(pods(1, 2), 1_000);
  vacancies.note(pods(1), 2_000);
  const same = pods(1);
  vacancies.note(same, 3_000);
  vacancies.note(same, 4_000);
  expect(nobodys(vacancies, 2, 1_500, 2_000, 2_001)).toEqual([false, false, true]);
  vacancies.note(pods(1, 2), 5_000);
  vacancies.note(pods(1), 6_000);
  expect(nobodys(vacancies, 2, 4_000, 6_001)).toEqual([false, true]);
  expect(nobodys(vacancies, 3, 1_001)).toEqual([true]);
});

test("of more addresses than are remembered, none is said to be nobody's from before it was forgotten", () => {
  const vacancies = new Vacancies();
  const many = Array.from({ length: 5_000 }, (_, i) => i);
  vacancies.note(pods(...many), 1_000);
  vacancies.note(pods(...many.slice(2_500)), 2_000);
  vacancies.note([], 3_000);
  expect(nobodys(vacancies, 0, 1_999, 2_001)).toEqual([false, true]);
  expect(nobodys(vacancies, 4_999, 2_999, 3_001)).toEqual([false, true]);
  expect(nobodys(vacancies, 6_000, 1_999, 2_001)).toEqual([false, true]);
});
