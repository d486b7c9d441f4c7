import { connect, type Socket } from "node:net";
import { onWords, say } from "./word-line.ts";

/** The agent that enforces while another one starts: the new one's end of the connection. */
export class Predecessor {
  readonly #socket: Socket;
  #answered: (() => void) | null = null;
  #gone = false;
  /** It wants to end. */
  onLeaving: () => void = () => undefined;
  /** It has ended, or let go of the connection. */
  onGone: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    onWords(socket, (word) => {
      if (word === "retiring") this.#answered?.();
      if (word === "leaving") this.onLeaving();
    });
    socket.on("error", () => undefined);
    socket.once("close", () => {
      this.#gone = true;
      this.#answered?.();
      this.onGone();
    });
  }

  /** Null: no agent listens at this path. One that hangs does: the kernel takes the connection for it. */
  static find(path: string): Promise<Predecessor | null> {
    return new Promise((resolve) => {
      const socket = connect(path);
      const failed = (): void => resolve(null);
      socket.once("error", failed);
      socket.once("connect", () => {
        socket.off("error", failed);
        resolve(new Predecessor(socket));
      });
    });
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** Asks it to leave the ruleset alone. False: it did not answer in time, and is still there. True also when it is gone. */
  async retire(limitMs: number): Promise<boolean> {
    if (this.#gone) return true;
    const answered = new Promise<boolean>((resolve) => {
      this.#answered = () => resolve(true);
    });
    say(this.#socket, "retire");
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), limitMs);
    });
    const result = await Promise.race([answered, late]);
    clearTimeout(timer);
    this.#answered = null;
    return result;
  }

  installed(): void {
    say(this.#socket, "installed");
  }

  alone(): void {
    say(this.#socket, "alone");
  }

  close(): void {
    this.#socket.destroy();
  }
}
