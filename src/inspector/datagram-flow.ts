import { FollowedFlow } from "./followed-flow.ts";

/** A flow of datagrams whose first packets wait for a binding. It leaves the table with its decision. */
export class DatagramFlow extends FollowedFlow {
  readonly kind = "datagram";
  /** Its first packet is all there is to see. */
  override classified = true;
  /** Ids of the packets that wait, in the order of their arrival. */
  readonly waiting: number[] = [];
}
