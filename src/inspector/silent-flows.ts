import type { AnyFlow, Lane } from "./lane.ts";
import type { TcpFlow } from "./tcp-flow.ts";
import { KEPT } from "./untracked-flows.ts";

/** A round over the table begins no sooner after the one before: a connection of which nothing is heard for so long is doubted. */
const ROUND_MS = 20_000;
const TURN_MS = 100;
/** Of a table that may have grown under a flood, no more in one turn than delays a verdict by some microseconds. */
const MOST_BUCKETS = 512;
/** Each costs the main thread a question to conntrack. */
const MOST_FLOWS = 64;

/**
 * Connections that stay in the table although they are over. The lane follows a flow until it hears that its entry in conntrack has ended.
 * It never hears that of a SYN that somebody drops behind our rules (the network policy of a CNI), for an entry that was never
 * confirmed ends without a word; nor of one that ended so soon that the word was taken for its predecessor's; nor of one that was rejected
 * while the lane still followed it. Each would count against its pod's bound for ever. So those that are silent for a whole round are asked
 * about (`Commands.doubt`), but for those that are known to have no entry (untracked-flows.ts). Nothing is kept for it but a number in each flow.
 */
export class SilentFlows {
  #round = 1;
  #bucket = 0;
  #turnAt = 0;
  #roundAt = 0;

  /** Time has passed. */
  tick(lane: Lane, now: number): void {
    if (now < this.#turnAt) return;
    this.#turnAt = now + TURN_MS;
    if (this.#bucket === 0) {
      if (now < this.#roundAt || lane.flows.size === 0) return;
      this.#roundAt = now + ROUND_MS;
      this.#round++;
    }
    const silent = this.#walk(lane);
    const doubted = silent.filter((flow) => !flow.untracked || !lane.untracked.keep(lane, flow));
    if (doubted.length > 0) lane.commands.doubt(doubted.map(({ tuple }) => tuple));
  }

  #walk(lane: Lane): TcpFlow[] {
    const { flows } = lane;
    const silent: TcpFlow[] = [];
    const end = Math.min(this.#bucket + MOST_BUCKETS, flows.buckets);
    for (; this.#bucket < end && silent.length < MOST_FLOWS; this.#bucket++) {
      for (let flow = flows.firstIn(this.#bucket); flow !== null; flow = flow.bucketNext as AnyFlow | null) {
        // What is held until a name is resolved has a deadline, and no entry yet.
        if (flow.kind !== "tcp" || flow.phase === "opening") continue;
        if (flow.silentSince === 0) flow.silentSince = this.#round;
        else if (flow.silentSince !== KEPT && flow.silentSince < this.#round) silent.push(flow);
      }
    }
    if (this.#bucket >= flows.buckets) this.#bucket = 0;
    return silent;
  }
}
