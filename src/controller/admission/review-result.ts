import type { KnownGroups } from "../../policy/warnings.ts";

/** To the worker. */
export type ReviewTask =
  | { readonly type: "review"; readonly body: Uint8Array }
  /** All groups that there are, and how many domains each has; null: that is not known. */
  | {
      readonly type: "groups";
      readonly groups: KnownGroups | null;
    };

/** From it, one for each review, in order. */
export interface ReviewResult {
  /** Null: it was no AdmissionReview. */
  readonly answer: string | null;
  readonly allowed: boolean;
}

/** What the worker says once it can judge. */
export const READY = "ready";
