import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** A process of its own that takes a lab down when the one that built it dies without doing so. */
export interface OrphanWatch {
  /** The lab is gone, or meant to stay: the watch ends and touches nothing. */
  release(): void;
}

const WATCHER = fileURLToPath(new URL("./orphan-watcher.ts", import.meta.url));

/**
 * Watches over a lab from a session of its own, so that neither Ctrl-C nor a kill of the whole process group reaches it. The kernel
 * closes our end of the pipe however we die, SIGKILL included.
 */
export function watchOrphan(lab: string): OrphanWatch {
  const child = spawn(process.execPath, [WATCHER, lab], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    cwd: "/",
  });
  child.on("error", () => {});
  child.stdin.on("error", () => {});
  child.unref();
  return { release: () => void child.stdin.end("release\n") };
}
