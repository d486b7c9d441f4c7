import type { Logger } from "./log.ts";
import type { Inputs } from "./state.ts";

/** What the queues and the DNS guard of a lane are made with. */
export function needsNewLane(config: Inputs["config"], before: Inputs["config"]): boolean {
  return (
    config.failMode !== before.failMode ||
    config.podInterfaces.join() !== before.podInterfaces.join() ||
    config.dnsDenial !== before.dnsDenial ||
    config.clusterDomain !== before.clusterDomain ||
    config.limits.bindings !== before.limits.bindings ||
    config.limits.pendingQuestions !== before.limits.pendingQuestions
  );
}

/** Marks and queues are set up once; a change of them needs a new agent. */
export function keepFixed(inputs: Inputs, before: Inputs["config"], log: Logger): Inputs {
  const { config } = inputs;
  if (config.markMask === before.markMask && config.queueNumber === before.queueNumber) return inputs;
  log.warn(
    { event: "needs-restart" },
    "`markMask` and `queueNumber` change when the agent is started anew; the old ones stay for now",
  );
  return { ...inputs, config: { ...config, markMask: before.markMask, queueNumber: before.queueNumber } };
}
