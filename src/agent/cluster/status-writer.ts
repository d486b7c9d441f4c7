import { isDeepStrictEqual } from "node:util";
import { Backoff } from "../../kube/backoff.ts";
import { type KubeClient, KubeError } from "../../kube/client.ts";
import { API_VERSION } from "../../policy/schema.ts";
import { type Logger, RateLimit } from "../log.ts";
import type { NodeCondition, NodeStatus } from "./node-status.ts";
import { GROUP } from "./resources.ts";
import { type Saying, sayingOf, spreadMs, spreadOfAllMs } from "./spread.ts";

const EVERY_MS = 5_000;
const SAY_EVERY_MS = 60_000;
/** So long after its first word an agent says it again: one before it may have had a last word under way, which came later. */
const CONFIRM_MS = 10_000;
const TIMEOUT_MS = 15_000;
const KIND = "EgressNodeStatus";
const BACKOFF = { firstMs: EVERY_MS, longestMs: 5 * 60_000 };

export interface StatusWriterOptions {
  readonly client: KubeClient;
  readonly node: string;
  /** UID of the Node object, whose end is the end of its status; null: not known. */
  readonly nodeUid: () => string | null;
  /** What is to be written now. */
  readonly status: () => NodeStatus;
  /** How many nodes the cluster has, about; 0: not known. */
  readonly nodes: () => number;
  readonly log: Logger;
}

/**
 * Writes the status of this node's agent to the API server: when it has changed, at most every five seconds, and not at all
 * while nothing happens. Server-side apply, so that nothing has to be read first. What other nodes have to say too is said at a moment of this
 * node's own (spread.ts).
 */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #backoff = new Backoff(BACKOFF);
  readonly #limit = new RateLimit(SAY_EVERY_MS);
  readonly #look: NodeJS.Timeout;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> | null = null;
  #due: NodeJS.Timeout | undefined;
  #next = 0;
  /** Connections to the API server before a try that failed; null: the last one did not. */
  #connectsBefore: number | null = null;
  /** What was written last. */
  #written: Saying | null = null;
  /** When what is to be said is written, of which other nodes have to say the same; null: nothing waits. */
  #dueAt: number | null = null;
  #since = new Map<string, { readonly status: string; readonly time: string }>();
  #closed = false;
  #first = true;
  /** When what was written last is to be written once more. */
  #confirmAt = Number.POSITIVE_INFINITY;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
    // What changes by itself, as readiness does, is told by nobody.
    this.#look = setInterval(() => {
      this.#cameBack();
      this.changed();
    }, EVERY_MS);
    this.changed();
  }

  /** Something may have changed. */
  changed(): void {
    if (this.#closed || this.#timer !== null || this.#writing !== null) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#writing = this.#write().finally(() => {
          this.#writing = null;
        });
      },
      Math.max(0, this.#next - performance.now()),
    );
  }

  /** A server that was away is not overloaded when it is back: nobody should have to wait out a pause that grew meanwhile. */
  #cameBack(): void {
    const { client, nodes } = this.#options;
    if (this.#connectsBefore === null || client.connects === this.#connectsBefore || this.#writing !== null) return;
    this.#connectsBefore = null;
    this.#next = Math.min(this.#next, performance.now() + Math.random() * spreadOfAllMs(nodes()));
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#look);
    clearTimeout(this.#due);
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #write(): Promise<void> {
    const status = this.#options.status();
    const saying = sayingOf(status, this.#options.nodeUid());
    const confirm = performance.now() > this.#confirmAt;
    const nothingNew = isDeepStrictEqual(saying, this.#written);
    if (nothingNew) this.#dueAt = null;
    if (!confirm && (nothingNew || this.#waits(saying))) return;
    // Before the try: it may fail by waiting for the connection that is made at last.
    const { connects } = this.#options.client;
    try {
      await this.#apply(status);
      this.#connectsBefore = null;
      this.#written = saying;
      this.#dueAt = null;
      if (this.#first || confirm)
        this.#confirmAt = this.#first ? performance.now() + CONFIRM_MS : Number.POSITIVE_INFINITY;
      this.#first = false;
      this.#backoff.worked();
      this.#next = performance.now() + EVERY_MS;
    } catch (error) {
      const { message, retryAfterMs = 0 } = error as KubeError;
      this.#connectsBefore = connects;
      this.#backoff.failed(retryAfterMs);
      this.#next = performance.now() + this.#backoff.pause();
      const suppressed = this.#limit.allow(performance.now());
      if (suppressed === null) return;
      this.#options.log.warn(
        { event: "status-not-written", error: message, suppressed },
        `the cluster does not see what this node enforces; EgressNodeStatus \`${this.#options.node}\` is tried again`,
      );
    }
  }

  /** Whether it is not yet the moment to say it; looked at again when it is, and at every change. */
  #waits(saying: Saying): boolean {
    if (this.#written === null) return false;
    const spread = spreadMs(this.#written, saying, this.#options.nodes());
    const now = performance.now();
    this.#dueAt ??= now + Math.random() * spread;
    const left = Math.min(this.#dueAt - now, spread);
    if (left <= 0) return false;
    clearTimeout(this.#due);
    this.#due = setTimeout(() => this.changed(), left);
    return true;
  }

  async #apply(status: NodeStatus): Promise<void> {
    const now = new Date().toISOString();
    const conditions = status.conditions.map((condition) => this.#withTime(condition, now));
    const body = { status: { ...status, conditions, observedAt: now } };
    try {
      await this.#patch("/status", body);
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== 404) throw error;
      await this.#patch("", {});
      await this.#patch("/status", body);
    }
  }

  /** As `metav1.Condition`: the time of the last change of `status`, to the second. */
  #withTime(condition: NodeCondition, now: string): object {
    const { type, status } = condition;
    const known = this.#since.get(type);
    const time = known?.status === status ? known.time : `${now.slice(0, 19)}Z`;
    this.#since.set(type, { status, time });
    return { ...condition, lastTransitionTime: time };
  }

  #patch(subresource: string, body: object): Promise<string> {
    const { client, node, nodeUid } = this.#options;
    const uid = nodeUid();
    const owner = { apiVersion: "v1", kind: "Node", name: node, uid };
    const owned = subresource === "" && uid !== null ? { ownerReferences: [owner] } : {};
    const object = { apiVersion: API_VERSION, kind: KIND, metadata: { name: node, ...owned }, ...body };
    return client.write({
      method: "PATCH",
      path: `${GROUP}/egressnodestatuses/${node}${subresource}?fieldManager=sallyport-agent${subresource === "" ? "-object" : ""}&force=true`,
      contentType: "application/apply-patch+yaml",
      body: JSON.stringify(object),
      timeoutMs: TIMEOUT_MS,
    });
  }
}
