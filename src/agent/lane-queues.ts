import { openQueue, type Queue } from "../kernel/queue.ts";
import type { QueuePair } from "../kernel/ruleset.ts";
import { BALLAST } from "./ballast.ts";

/** Packets that may wait for the lane in either queue. */
const QUEUE_LENGTH = 8_192;

/** Binds both queues of a lane. @throws Error where one is another's, or privilege is missing */
export function openQueues(
  numbers: QueuePair,
  failOpen: boolean,
): { readonly strict: Queue; readonly observed: Queue } {
  return {
    strict: openQueue({ number: numbers.strict, maxLength: QUEUE_LENGTH + BALLAST, failOpen }),
    observed: openQueue({ number: numbers.observed, maxLength: QUEUE_LENGTH, failOpen: true }),
  };
}
