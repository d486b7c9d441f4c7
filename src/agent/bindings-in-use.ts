import type { LaneHandle } from "./lane-handle.ts";
import type { OpenFlows } from "./open-flows.ts";

const EVERY_MS = 5 * 60_000;
const PIECE = 8_192;
const PAUSE_MS = 50;

/** Tells the lane again and again which bindings open flows use. */
export class BindingsInUse {
  readonly #open: Pick<OpenFlows, "bindingsInUse">;
  readonly #lane: Pick<LaneHandle, "send">;
  #timer: NodeJS.Timeout | null = null;

  constructor(open: Pick<OpenFlows, "bindingsInUse">, lane: Pick<LaneHandle, "send">) {
    this.#open = open;
    this.#lane = lane;
  }

  /** At once, too: agents that are killed again and again would never come to it. */
  start(): void {
    this.#say();
    this.#timer = setInterval(() => this.#say(), EVERY_MS);
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** In pieces: a message of a million entries would keep the lane from giving verdicts for most of a second. */
  #say(): void {
    const bindings = this.#open.bindingsInUse();
    for (let at = 0; at < bindings.length; at += PIECE) {
      const piece = bindings.slice(at, at + PIECE);
      setTimeout(() => this.#lane.send({ kind: "inUse", bindings: piece }), (at / PIECE) * PAUSE_MS);
    }
  }
}
