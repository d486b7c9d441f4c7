import { isDeepStrictEqual } from "node:util";
import { type Fields, fields } from "../../kube/object.ts";
import { judgeObject, type ObjectJudgement } from "../../policy/object-judging.ts";
import { API_VERSION, isKind } from "../../policy/schema.ts";
import type { KnownGroups } from "../../policy/warnings.ts";

const REVIEW = { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview" } as const;
const [GROUP, VERSION] = API_VERSION.split("/");
const MOST_LINES = 16;
/** The API server cuts longer ones, and drops what is over 4,096 in all. */
const LONGEST_WARNING = 250;
const LONGEST_UID = 128;
const INVALID = { code: 422, reason: "Invalid" } as const;

/** `admission.k8s.io/v1` AdmissionReview, as it goes back. */
export interface ReviewAnswer {
  readonly apiVersion: string;
  readonly kind: string;
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly status?: { readonly code: number; readonly reason: string; readonly message: string };
    readonly warnings?: readonly string[];
  };
}

/**
 * Answers an AdmissionReview. What is written of Sallyport's kinds is judged as `sallyport validate` judges it; everything else is let through,
 * for this is asked about nothing else.
 *
 * An object that nobody changes may stay as it is: it is kept from no label, no finalizer and no deletion.
 *
 * @returns null where it is no AdmissionReview. Never throws.
 */
export function answerReview(review: unknown, groups: KnownGroups | null): ReviewAnswer | null {
  const { apiVersion, kind, request } = fields(review);
  const { uid, operation, subResource, object, oldObject, kind: type } = fields(request);
  if (apiVersion !== REVIEW.apiVersion || kind !== REVIEW.kind) return null;
  if (typeof uid !== "string" || uid === "" || uid.length > LONGEST_UID) return null;
  const { group, version, kind: name } = fields(type);
  const ours = group === GROUP && version === VERSION && isKind(name);
  const whole = subResource === undefined || subResource === "";
  if (!ours || !whole || (operation !== "CREATE" && operation !== "UPDATE")) return answer(uid, NOTHING);
  const judgement = judgeObject(name, object, groups);
  return answer(
    uid,
    operation === "UPDATE" && isUntouched(fields(object), oldObject) ? asWarnings(judgement) : judgement,
  );
}

const NOTHING: ObjectJudgement = { errors: [], warnings: [] };

function isUntouched(object: Fields, before: unknown): boolean {
  const { deletionTimestamp } = fields(object["metadata"]);
  return typeof deletionTimestamp === "string" || isDeepStrictEqual(object["spec"], fields(before)["spec"]);
}

function asWarnings({ errors, warnings }: ObjectJudgement): ObjectJudgement {
  return { errors: [], warnings: [...errors, ...warnings] };
}

function answer(uid: string, { errors, warnings }: ObjectJudgement): ReviewAnswer {
  const said = atMost(warnings).map((line) =>
    line.length > LONGEST_WARNING ? `${line.slice(0, LONGEST_WARNING - 1)}…` : line,
  );
  return {
    ...REVIEW,
    response: {
      uid,
      allowed: errors.length === 0,
      ...(errors.length === 0 ? {} : { status: { ...INVALID, message: atMost(errors).join("; ") } }),
      ...(said.length === 0 ? {} : { warnings: said }),
    },
  };
}

function atMost(lines: readonly string[]): readonly string[] {
  if (lines.length <= MOST_LINES) return lines;
  return [
    ...lines.slice(0, MOST_LINES - 1),
    `and ${lines.length - MOST_LINES + 1} more: \`sallyport validate\` shows them all`,
  ];
}
