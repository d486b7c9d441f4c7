import type { Workload } from "../../model/workload.ts";

/** By which UID the kubelet has named a pod's control group, or why nobody can tell, in one line. */
export type GroupUid = { readonly uid: string } | { readonly why: string };

const UNBELIEVED =
  "it mirrors a static pod, whose control group bears another UID, and nobody vouches for the annotation that tells it (`agent.staticPods` of the chart, `--static-pods`)";
const CLAIMED = "several objects claim to mirror the same static pod: delete those that the kubelet did not make";

/**
 * The names of groups, by the pods' own UIDs. The group of a static pod bears the UID that the kubelet made of its manifest; its object, which the kubelet
 * mirrors, has another, and tells that one in an annotation. `believed`: an admission policy lets kubelets alone write it (docs/adr/0025-host-network-pods.md).
 * Without, whoever may create pods could put another's static pod, which may be the API server, under policies of his own.
 */
export function groupUids(pods: readonly Workload[], believed: boolean): ReadonlyMap<string, GroupUid> {
  const claims = new Map<string, number>();
  for (const { staticUid } of pods)
    if (staticUid !== undefined) claims.set(staticUid, (claims.get(staticUid) ?? 0) + 1);
  return new Map(
    pods.map(({ uid, staticUid }) => {
      if (staticUid === undefined) return [uid, { uid }];
      if (!believed) return [uid, { why: UNBELIEVED }];
      return [uid, claims.get(staticUid) === 1 ? { uid: staticUid } : { why: CLAIMED }];
    }),
  );
}
