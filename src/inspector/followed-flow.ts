import type { FlowTuple } from "../flow/event.ts";
import type { Timed } from "./deadlines.ts";
import type { FlowEntry, FlowKey } from "./flow-table.ts";
import type { Judged, MutableFacts } from "./judge.ts";

/** What every flow has that the lane follows: its place in the table and among the deadlines, and what is judged. */
export abstract class FollowedFlow implements FlowEntry, Timed, Judged {
  protocol: number;
  c0: number;
  c1: number;
  c2: number;
  c3: number;
  s0: number;
  s1: number;
  s2: number;
  s3: number;
  clientPort: number;
  serverPort: number;
  hash = 0;
  bucketNext: FlowEntry | null = null;
  deadline = Infinity;
  listedAt = Infinity;

  readonly id: number;
  readonly workloadId: number;
  readonly tuple: FlowTuple;
  cls: number;
  facts: MutableFacts;
  classified = false;
  malformed = false;
  resolving = 0;
  resolveUntil = Infinity;
  resolved: string[] = [];
  gone = false;

  constructor(key: FlowKey, id: number, workloadId: number, cls: number, tuple: FlowTuple, facts: MutableFacts) {
    this.protocol = key.protocol;
    this.c0 = key.c0;
    this.c1 = key.c1;
    this.c2 = key.c2;
    this.c3 = key.c3;
    this.s0 = key.s0;
    this.s1 = key.s1;
    this.s2 = key.s2;
    this.s3 = key.s3;
    this.clientPort = key.clientPort;
    this.serverPort = key.serverPort;
    this.id = id;
    this.workloadId = workloadId;
    this.cls = cls;
    this.tuple = tuple;
    this.facts = facts;
  }
}
