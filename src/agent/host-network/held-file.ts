import { rmSync } from "node:fs";
import { join } from "node:path";
import { groupTag } from "../../model/host-pod.ts";
import { bootID } from "../bypass/bypass-file.ts";
import { HELD_PODS } from "../journal/folder.ts";
import { readOwnFile, replaceOwnFile } from "../journal/own-file.ts";

/** A control group whose packets are held, and how they are told apart. */
export interface HeldGroup {
  readonly group: bigint;
  readonly tag: number;
}

/**
 * The groups that an agent before this one held since the machine was started: the objects of their pods may be gone while processes still
 * run, and then nobody else says that they were pods. None where there is no file, or none that can be read.
 */
export function readHeld(folder: string): readonly HeldGroup[] {
  try {
    const { boot, groups } = JSON.parse(readOwnFile(join(folder, HELD_PODS)) ?? "{}") as Record<string, unknown>;
    if (boot !== bootID() || !Array.isArray(groups)) return [];
    return groups
      .filter((group): group is string => typeof group === "string" && /^[1-9][0-9]{0,19}$/.test(group))
      .map((text) => ({ group: BigInt(text), tag: groupTag(BigInt(text)) }));
  } catch {
    return [];
  }
}

/** No file where nothing is held. @throws Error where the folder cannot be written */
export function writeHeld(folder: string, held: readonly HeldGroup[]): void {
  const path = join(folder, HELD_PODS);
  const groups = held.map(({ group }) => group.toString());
  if (groups.length === 0) rmSync(path, { force: true });
  else replaceOwnFile(path, JSON.stringify({ boot: bootID(), groups }));
}
