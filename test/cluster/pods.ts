import { TOOLS_IMAGE } from "./images.ts";
import type { OtherNetwork } from "./node-config.ts";

/** What a test says of a pod; the rest is as little as runs. */
export interface PodChoice {
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Default: sleeps. */
  readonly command?: readonly string[];
  /** Default: `ptp`, the cluster's own. */
  readonly network?: OtherNetwork | "host";
  readonly securityContext?: object;
  /** Default: the tools. */
  readonly image?: string;
  /** Domains that its resolver tries after the cluster's own. */
  readonly searches?: readonly string[];
}

/** A pod of one container that ends at once when it is deleted. */
export function podObject(name: string, choice: PodChoice = {}): object {
  const { namespace = "default", labels = {}, command, network, securityContext, image, searches } = choice;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels },
    spec: {
      terminationGracePeriodSeconds: 0,
      ...(network === "host" ? { hostNetwork: true, dnsPolicy: "ClusterFirstWithHostNet" } : {}),
      ...(network === undefined || network === "host" ? {} : { runtimeClassName: network }),
      ...(searches === undefined ? {} : { dnsConfig: { searches } }),
      containers: [
        {
          name: "main",
          image: image ?? TOOLS_IMAGE,
          imagePullPolicy: "Never",
          ...(command === undefined ? {} : { command }),
          ...(securityContext === undefined ? {} : { securityContext }),
        },
      ],
    },
  };
}
