import { type AgentNumbers, type AgentParts, laneNumber } from "./numbers.ts";

/** A change takes a moment, in which all of the state before it is enforced; beyond this it counts as not enforced. */
const APPLY_LIMIT_SECONDS = 5;

/** Null: well. Else why not, in one line. Asks nobody, so it can be asked for at any time. */
export function whyUnhealthy({ counts, lane }: Pick<AgentParts, "counts" | "lane">): string | null {
  if (counts.phase !== "enforcing" || lane.alive) return null;
  return `the packet lane does not beat and is being replaced (${lane.restarts} times so far): new flows of isolated workloads wait`;
}

/** Null: enforcement is complete. Else why it is not, in one line. */
export function whyNotReady(numbers: AgentNumbers): string | null {
  const { counts, epoch, kernel } = numbers;
  if (counts.phase === "starting") return "starting: enforcement is not complete yet";
  if (counts.phase === "stopping") return "stopping: the rules stay, nobody decides";
  const unhealthy = whyUnhealthy(numbers);
  if (unhealthy !== null) return unhealthy;
  const deaf = kernel.queues.find(({ statistics }) => statistics === null);
  if (deaf !== undefined) return `nobody listens to NFQUEUE \`${deaf.number}\`, or it cannot be told`;
  if (kernel.rulesInPlace === null) return "it cannot be told in time whether the rules are in place";
  if (!kernel.rulesInPlace) return "the rules of table `inet sallyport` are not in place; they are being put back";
  if (counts.applyingSeconds > APPLY_LIMIT_SECONDS) {
    return `epoch ${epoch.program.epoch} is not enforced after ${Math.round(counts.applyingSeconds)} s; the one before is, in part`;
  }
  if (counts.applyFailure !== null) return `the last change could not be applied: ${oneLine(counts.applyFailure)}`;
  const adopted = laneNumber(numbers, "epoch");
  if (adopted !== epoch.program.epoch && counts.applyingSeconds === 0) {
    return `the packet lane decides by epoch ${adopted}, not yet by ${epoch.program.epoch}`;
  }
  return null;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, "; ").slice(0, 400);
}
