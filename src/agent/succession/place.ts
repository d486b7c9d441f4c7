import { statSync } from "node:fs";
import { join } from "node:path";
import { otherGeneration } from "../../kernel/ruleset.ts";
import type { Generation } from "../../model/verdict.ts";
import { journalName, makeStateFolder, socketName } from "../journal/folder.ts";
import type { Logger } from "../log.ts";
import { Predecessor } from "./predecessor.ts";
import { killAgent } from "./roll.ts";
import { StartLock } from "./start-lock.ts";

/** Longest path of a Unix socket, with its closing NUL (unix(7)). */
const SOCKET_PATH = 108;
const LOOK_EVERY_MS = 100;
const KILL_LIMIT_MS = 2_000;

/** What an agent is to be among those of its network namespace. */
export interface Place {
  readonly folder: string;
  readonly generation: Generation;
  /** The agent to take over from; null: nobody enforces. */
  readonly predecessor: Predecessor | null;
  /** Null: the folder cannot be used, so nobody can take over from this agent. */
  readonly lock: StartLock | null;
}

/**
 * Finds the agents that run here, and a generation that is free. Waits while another one starts, and while one that was
 * replaced still follows its last flows; `waiting` is called again and again meanwhile. Never throws.
 */
export async function takePlace(folder: string, log: Logger, waiting: () => void): Promise<Place> {
  let lock: StartLock | null = null;
  try {
    makeStateFolder(folder);
    if (join(folder, socketName(0)).length >= SOCKET_PATH) throw new Error(`the path \`${folder}\` is too long`);
    lock = await StartLock.take(folder, waiting);
    for (let said = false; ; said = true) {
      const living = await findBoth(folder);
      if (living === null) {
        if (!said) log.info({ event: "waiting" }, "an agent that was replaced still follows its last flows");
        waiting();
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
        continue;
      }
      return { folder, lock, ...living };
    }
  } catch (error) {
    lock?.release();
    log.warn(
      { event: "hand-over-off", error: String(error) },
      "no other agent will be able to take over from this one without a gap",
    );
    return { folder, generation: 0, predecessor: null, lock: null };
  }
}

/** Ends an agent that does not answer. @throws Error when it is still there */
export async function endHanging({ folder, generation, predecessor }: Place): Promise<void> {
  const former = otherGeneration(generation);
  killAgent(folder, former);
  const until = performance.now() + KILL_LIMIT_MS;
  while (predecessor !== null && !predecessor.gone) {
    if (performance.now() > until) {
      throw new Error(
        "the agent that runs here does not answer, and cannot be ended from here: end it, then start again",
      );
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS / 10));
  }
}

/** Null: both generations are taken. */
async function findBoth(folder: string): Promise<Pick<Place, "generation" | "predecessor"> | null> {
  const [first, second] = await Promise.all(
    ([0, 1] as const).map((generation) => Predecessor.find(join(folder, socketName(generation)))),
  );
  if (first && second) {
    first.close();
    second.close();
    return null;
  }
  if (first) return { generation: 1, predecessor: first };
  if (second) return { generation: 0, predecessor: second };
  return { generation: lastGeneration(folder), predecessor: null };
}

/** The rules that a dead agent left ask its queues: one that takes the same answers at once. */
function lastGeneration(folder: string): Generation {
  const written = (generation: Generation): number =>
    statSync(join(folder, journalName(generation)), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return written(1) > written(0) ? 1 : 0;
}
