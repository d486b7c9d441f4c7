import { connect } from "node:net";
import { join } from "node:path";
import { socketName } from "../journal/folder.ts";

const LIMIT_MS = 1_000;

/**
 * Whether an agent of either generation runs that keeps its state in this folder: the kernel closes its socket with it, however it ends, and in whatever
 * process namespace. One that hangs lives.
 */
export async function agentLives(folder: string): Promise<boolean> {
  const both = await Promise.all(([0, 1] as const).map((generation) => listens(join(folder, socketName(generation)))));
  return both.includes(true);
}

function listens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path, timeout: LIMIT_MS });
    const over = (lives: boolean): void => {
      socket.destroy();
      resolve(lives);
    };
    socket.once("connect", () => over(true));
    socket.once("timeout", () => over(false));
    socket.once("error", () => over(false));
  });
}
