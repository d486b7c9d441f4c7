import type { ClusterAccess } from "../kube/access.ts";
import type { ListenAddress } from "./metrics/listen-address.ts";

export interface KubeOptions {
  /** Where the API server is and how it lets us in. */
  readonly access: ClusterAccess;
  /** Name of the Node that the agent runs on. */
  readonly node: string;
  /** Sallyport's own namespace, in which the controller says where pods of other nodes are. */
  readonly namespace: string;
  /** Socket by which the node's container runtime tells of pods (NRI); null: it is not asked. */
  readonly nri: string | null;
}

/** What `sallyport agent` was asked for; the command line is read once, in cli/. */
export interface AgentOptions {
  /** The inputs come from an API server; null: from the files below, which are empty otherwise. */
  readonly kube: KubeOptions | null;
  /** Files or folders of policy documents. */
  readonly policies: readonly string[];
  /** File of core/v1 Pod and Namespace objects. */
  readonly workloads: string;
  /** File with the AgentConfig document; null: looked for among the policies, else defaults. */
  readonly config: string | null;
  /** Flow log: a file, `-` for stdout, null for none. */
  readonly flows: string | null;
  /** Bytes after which the flow log is rotated. */
  readonly flowsMaxSize: number;
  /** Rotated files that are kept. */
  readonly flowsKeep: number;
  /** Folder of what a restart remembers; null: `/run/sallyport/<network namespace>`. */
  readonly state: string | null;
  /** File of the rules that close the node from its next boot on; null: none. */
  readonly bootRules: string | null;
  /** Where the node's control groups are mounted; null: pods on the host's network are not held, and those that were are let go. */
  readonly controlGroups: string | null;
  /** Which static pod an object mirrors is believed: only kubelets may say it. */
  readonly staticPods: boolean;
  /** Milliseconds that an agent which was replaced goes on with the flows it follows. */
  readonly linger: number;
  readonly logLevel: string;
  /** Where metrics, health and status are answered; none: nowhere. */
  readonly listen: readonly ListenAddress[];
  /** Said in metrics and status. */
  readonly version: string;
  /** Process id of the supervisor that started this agent and listens for its beats; null: nobody watches. */
  readonly supervisor: number | null;
}
