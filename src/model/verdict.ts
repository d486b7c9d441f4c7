/**
 * The words that kernel and packet lane exchange in the masked bits of the packet mark. Values are before the shift
 * to the lowest bit of the mask; six bits. Written down, with every transition, in docs/adr/0003-conntrack-states.md.
 */

/** Kernel → lane: bit 5 says "question", the rest says what the kernel knows. */
export const QUESTION = 0x20;
/** The packet goes against the direction of the flow's first packet (conntrack). */
export const FROM_SERVER = 0x01;
/** The address that the pod asked (before translation) is a trusted resolver, on port 53. */
export const TO_RESOLVER = 0x02;
/** The destination was translated (DNAT). */
export const TRANSLATED = 0x04;
/** Two bits: what conntrack remembers of the flow: 0 none, 1 looking, 2 allowed, 3 HTTP. */
export const REMEMBERED_SHIFT = 3;

/** Lane → kernel, as mark of an accepted packet. */
export const ANSWER = {
  /** Let this packet go, remember nothing new. */
  pass: 1,
  /** Pass, and remember `looking`: both directions stay queued. */
  look: 2,
  /** Pass, and remember `allowed`: the kernel carries the rest. */
  allow: 3,
  /** Pass, and remember `http`: the client's direction stays queued. */
  http: 4,
  /** Remember `rejected` and let the kernel tell the sender (TCP reset, ICMP admin-prohibited). */
  reject: 5,
  /** Remember `rejected`, drop silently: the agent has injected an answer itself. */
  cut: 6,
  /** Pass, and remember `inbound`: the flow was opened from outside towards the pod. */
  inbound: 7,
  /** On packets that the agent injects towards the server (SO_MARK): not to be queued again; conntrack translates them like the flow. */
  injected: 8,
  /**
   * On packets that the agent injects towards the client: not queued, and not tracked. A tracked one would open an
   * entry of its own on a masqueraded flow (the flow's reply tuple ends at the node's address), and clash with it.
   * Such a packet is written as the client must see it: from the address that the pod asked, before translation.
   */
  injectedUntracked: 9,
  /** Pass, and remember `confirming`: as `look`, but segments without data are asked about too. */
  confirm: 10,
  /** Pass, and remember `proving`: the server's first TLS record hands the flow over (docs/adr/0013-server-hello.md). */
  prove: 11,
  /** Pass, and where `proving` is remembered, remember `looking` instead. */
  unprove: 12,
  /**
   * As `allow`, and for a few seconds the kernel itself opens flows from this pod to this address and port, and logs each
   * (docs/adr/0014-carried-flows.md). The other generation's word is taken as `allow`.
   */
  carry: 13,
  /**
   * As `look`, and for a moment the kernel lets SYNs from this pod to this address and port go on unasked, and tells of each
   * (docs/adr/0017-told-syns.md). The other generation's word is taken as `look`.
   */
  tell: 14,
  /** On packets that the agent sends to the node itself, to lie in its strict queue (agent/ballast.ts): not tracked. */
  ballast: 15,
} as const;

/** Answers after which the flow's packets are for the agent that gave them. */
export const FOLLOWS: ReadonlySet<number> = new Set([
  ANSWER.look,
  ANSWER.confirm,
  ANSWER.http,
  ANSWER.prove,
  ANSWER.unprove,
  ANSWER.carry,
  ANSWER.tell,
]);
/**
 * Added to those by the agent of generation 1: the flow's packets are questions for that agent and no other
 * (docs/adr/0008-hand-over.md). Generation 0 adds nothing.
 */
export const BY_GENERATION_1 = 0x10;
/** Two agents may listen side by side while one takes over from the other. */
export type Generation = 0 | 1;

/** What conntrack remembers (masked bits of the conntrack mark). */
export const STATE = {
  none: 0,
  looking: 1,
  allowed: 2,
  http: 3,
  rejected: 4,
  inbound: 5,
  confirming: 6,
  proving: 7,
} as const;
export type State = (typeof STATE)[keyof typeof STATE];
