import { rm } from "node:fs/promises";
import { loadState } from "./cluster-state.ts";
import { endControlGroups } from "./control-groups.ts";
import { removeNetwork } from "./network.ts";
import { placeOf } from "./places.ts";

/** Removes a cluster, or what a crash left of one. Resolves to false when there was nothing. */
export async function removeCluster(name: string): Promise<boolean> {
  const state = await loadState(name);
  // Every process of the cluster is in these; its mounts end with its last process.
  if (state !== null) await endControlGroups(state.controlGroups);
  await removeNetwork(name);
  await rm(placeOf(name), { recursive: true, force: true });
  return state !== null;
}
