import { parentPort } from "node:worker_threads";
import type { KnownGroups } from "../../policy/warnings.ts";
import { answerReview } from "./review.ts";
import { READY, type ReviewResult, type ReviewTask } from "./review-result.ts";

let groups: KnownGroups | null = null;

parentPort?.on("message", (task: ReviewTask) => {
  if (task.type === "groups") groups = task.groups;
  else parentPort?.postMessage(judge(task.body));
});

parentPort?.postMessage(READY);

function judge(body: Uint8Array): ReviewResult {
  try {
    const answer = answerReview(
      JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString("utf8")),
      groups,
    );
    return { answer: answer && JSON.stringify(answer), allowed: answer?.response.allowed === true };
  } catch {
    // No JSON, or nested deeper than anything that Sallyport reads.
    return { answer: null, allowed: false };
  }
}
