import { MSG_DONTWAIT, MSG_NOSIGNAL, send } from "../kernel/libc.ts";

/** How long the lane sleeps at most, so that its pulse is seen to beat while there is no traffic. */
export const BEAT_MS = 100;
const BEAT = new Uint8Array([1]);

/** Tells the supervisor that the lane lives, a byte at most every BEAT_MS. It never waits for one that does not read. */
export class LaneBeat {
  readonly #descriptor: number;
  #next = 0;

  /** -1: nobody listens. */
  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** `time`: performance.now(). */
  beat(time: number): void {
    if (this.#descriptor < 0 || time < this.#next) return;
    this.#next = time + BEAT_MS - 1;
    send(this.#descriptor, BEAT, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}
