/** What a hostile pod shall send: data, so that a test can write it down and a process in the pod can follow it. */
export interface Script {
  readonly address: string;
  readonly port: number;
  /** The source port: it tells the flows of one run apart. */
  readonly from: number;
  /** The pod's own address; or another one, to borrow it. */
  readonly source: string;
  /** Its SYNs have the layout of Linux's own, where a step does not say otherwise. */
  readonly plain?: boolean;
  readonly steps: readonly Step[];
}

export type Step =
  | ({ readonly do: "open" } & Opening)
  | ({ readonly do: "send" } & Segment)
  /** A whole IP packet, as it is. */
  | { readonly do: "packet"; readonly bytes: string }
  | { readonly do: "wait"; readonly ms: number }
  /** Waits until the peer has sent this many bytes, or ended, or the time is over. */
  | { readonly do: "read"; readonly count: number; readonly ms: number };

/** A SYN and what follows it. */
export interface Opening {
  readonly isn?: number;
  readonly window?: number;
  readonly ttl?: number;
  /** Base64: data in the SYN. */
  readonly data?: string;
  /** Base64: more options in the SYN. */
  readonly options?: string;
  readonly timestamps?: boolean;
  /** Further flags of the SYN. */
  readonly flags?: number;
  /** Neither waits for the SYN-ACK nor acknowledges it. */
  readonly blind?: boolean;
}

/** One segment. Offsets count from the first byte after the SYN. */
export interface Segment {
  readonly at: number;
  /** Base64. */
  readonly data?: string;
  /** Default PSH and ACK. */
  readonly flags?: number;
  readonly ttl?: number;
  readonly window?: number;
  readonly badChecksum?: boolean;
  /** Added to the acknowledgement number. */
  readonly ackBy?: number;
  /** Added to the time stamp, where time stamps were agreed on. */
  readonly timeBy?: number;
  /** Base64: options of this segment. */
  readonly options?: string;
  readonly urgent?: number;
  /** Base64: an IPv6 extension header (its first byte is filled in) or IPv4 options between IP header and TCP. */
  readonly between?: string;
  /** Protocol number of the extension header. */
  readonly betweenType?: number;
  /** Sends the packet in IP fragments of this many bytes (a multiple of 8); `last`: in reverse order. */
  readonly fragments?: number;
  readonly reversed?: boolean;
}

export interface Outcome {
  readonly from: number;
  readonly opened: boolean;
  /** Base64: what the peer sent, in order. */
  readonly received: string;
  readonly reset: boolean;
  readonly ended: boolean;
  /** Types and codes of ICMP errors about this flow, as `3/13`. */
  readonly icmp: readonly string[];
}
