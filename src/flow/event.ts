import type { Decision } from "../model/decision.ts";
import type { Application, Facts } from "../model/facts.ts";
import type { Address } from "../net/address.ts";

/** As seen in the forward hook: the pod's own address, and the destination after translation. */
export interface FlowTuple {
  /** IP protocol number as on the wire (58 stays 58). */
  readonly protocol: number;
  readonly client: Address;
  readonly server: Address;
  /** Ports; for ICMP echo the identifier is the client port and the server port is 0. */
  readonly clientPort: number;
  readonly serverPort: number;
}

/** A decision on a flow, an HTTP request or a DNS question. Becomes one line of the flow log. */
export interface FlowEvent {
  readonly kind: "flow" | "request" | "dns";
  /** Given by the inspector, counts up; the same for every event of one flow. */
  readonly flowId: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly workloadId: number;
  readonly tuple: FlowTuple;
  readonly application: Application;
  /** Name in the flow, else the first bound name, else null. */
  readonly name: string | null;
  readonly method: string | null;
  readonly path: string | null;
  readonly decision: Decision;
  /** What Audit policies would have made of it; null where it is the same. */
  readonly audit: Decision | null;
  /** Facts at the decision, so that an open flow can be decided anew after a change. Null where the flow is already over. */
  readonly facts: Facts | null;
  /** How long the packet that decided it had waited for that at most, in milliseconds: its entry in conntrack was there then. Absent: nobody knows. */
  readonly waited?: number | undefined;
  /** The state that conntrack was told to remember. */
  readonly state: "allowed" | "http" | "rejected" | "none";
}
