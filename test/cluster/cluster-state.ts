import { readFile } from "node:fs/promises";
import { writeWhole } from "../../src/lab/state.ts";
import type { Component } from "./components.ts";
import type { Machine } from "./machine.ts";
import { placeOf } from "./places.ts";

/** What another process must know to use a cluster, or to take down what is left of one. */
export interface State {
  readonly name: string;
  readonly kubectl: string;
  readonly ctr: string;
  /** Written before anything else: by them every process of the cluster is found. */
  readonly controlGroups: readonly string[];
  readonly machine: Machine | null;
  readonly components: readonly Component[];
}

export async function saveState(state: State): Promise<void> {
  await writeWhole(`${placeOf(state.name)}/state.json`, `${JSON.stringify(state, null, 1)}\n`);
}

export async function loadState(name: string): Promise<State | null> {
  const text = await readFile(`${placeOf(name)}/state.json`, "utf8").catch(() => null);
  return text === null ? null : (JSON.parse(text) as State);
}
