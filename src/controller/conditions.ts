import type { ConditionText } from "../policy/status-schema.ts";

export type Verdict = Pick<ConditionText, "type" | "status" | "reason" | "message">;

const MOST_LETTERS = 4096;

/**
 * The conditions with what is known now. A condition that says the same as before keeps its time, so that a status is written only
 * when something has changed; one of another type stays as it is (somebody else's).
 *
 * @param now RFC 3339
 */
export function withVerdicts(
  before: readonly ConditionText[],
  verdicts: readonly Verdict[],
  generation: number,
  now: string,
): ConditionText[] {
  const rest = before.filter(({ type }) => verdicts.every((verdict) => verdict.type !== type));
  const renewed = verdicts.map((verdict) => {
    const old = before.find(({ type }) => type === verdict.type);
    const message = verdict.message.slice(0, MOST_LETTERS);
    const lastTransitionTime = old !== undefined && old.status === verdict.status ? old.lastTransitionTime : now;
    return { ...verdict, message, observedGeneration: generation, lastTransitionTime };
  });
  return [...renewed, ...rest];
}
