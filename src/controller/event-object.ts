import { createHash } from "node:crypto";
import type { Reason } from "../model/decision.ts";
import { oneLine } from "../policy/check.ts";
import type { NodeStatusText } from "../policy/status-schema.ts";

export type DenialText = NonNullable<NodeStatusText["denials"]>[number];

const CONTROLLER = "sallyport.dev/controller";
/** A name has at most 253 characters: the pod's, a dot, a hash. */
const HASH_LETTERS = 16;
const POD_LETTERS = 253 - 1 - HASH_LETTERS;
/** An API server takes 1,024 bytes. */
const LONGEST_NOTE = 1_000;

const WHY: Readonly<Partial<Record<Reason, string>>> = {
  RuleMatched: "a rule denies it",
  DefaultDeny: "no rule allows it",
  NameHidden: "a rule denies names, and this connection hides its own",
  NotResolved: "a rule allows the name, but the pod did not resolve it to this address",
  NameMissing: "a rule allows the address by its name, but the connection does not carry the name",
  OtherResolver: "only an Allow that names port 53 opens a resolver that is not the cluster's",
  Malformed: "it cannot be read in one way only",
  LimitReached: "a limit of this pod is used up",
  NoRememberedDecision: "its beginning was not seen; a new connection is decided anew",
  NoLongerAllowed: "it was allowed, and is no longer",
  AmbiguousCopy: "bytes were sent again with other content",
};

/** The same for every replica, for as long as the denials of before are counted on. */
export function eventName({ pod, podUid, policy, rule, reason, destination, firstSeen }: DenialText): string {
  const what = JSON.stringify([podUid, policy, rule, reason, destination, firstSeen]);
  const hash = createHash("sha256").update(what).digest("hex").slice(0, HASH_LETTERS);
  return `${pod.slice(0, POD_LETTERS).replace(/[.-]+$/, "")}.${hash}`;
}

/** What somebody reads who asks why the pod cannot connect: destination, reason, rule. Never more of a request than that. */
export function noteOf({ destination, reason, policy, rule }: DenialText): string {
  const why = WHY[reason as Reason];
  const by = policy === undefined ? "" : `, by ${policy}${rule === undefined ? "" : `, rule ${rule}`}`;
  // The agent's status may be somebody else's words.
  const note = oneLine(
    `denied ${destination}: ${why === undefined ? reason : `${why} (${reason})`}${by}`,
    LONGEST_NOTE,
  );
  return Buffer.from(note)
    .subarray(0, LONGEST_NOTE)
    .toString("utf8")
    .replace(/\ufffd+$/, "");
}

/** events.k8s.io/v1. `identity`: of this replica. */
export function eventObject(denial: DenialText, identity: string): object {
  const { namespace, pod, podUid, firstSeen } = denial;
  return {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { name: eventName(denial), namespace },
    eventTime: microTime(firstSeen),
    type: "Warning",
    reason: "EgressDenied",
    action: "Connect",
    note: noteOf(denial),
    regarding: { apiVersion: "v1", kind: "Pod", namespace, name: pod, uid: podUid },
    reportingController: CONTROLLER,
    reportingInstance: identity.slice(0, 128),
    ...seriesOf(denial),
  };
}

/** Of one that is there; nothing of a denial that happened once. */
export function seriesOf({ count, lastSeen }: DenialText): object {
  return count < 2 ? {} : { series: { count, lastObservedTime: microTime(lastSeen) } };
}

function microTime(text: string): string {
  return new Date(text).toISOString().replace("Z", "000Z");
}
