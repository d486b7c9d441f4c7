import { connect, type Socket } from "node:net";
import { Backoff, type BackoffTimes } from "../../kube/backoff.ts";
import type { Workload } from "../../model/workload.ts";
import { type Address, formatAddress } from "../../net/address.ts";
import type { Configure, PodSandbox } from "../../nri/messages.ts";
import { NriSession } from "../../nri/session.ts";
import type { Pod } from "../../workloads/pod.ts";
import { type Logger, RateLimit } from "../log.ts";
import type { RuntimeReport } from "./report.ts";
import { Sandboxes } from "./sandboxes.ts";
import { StartGate } from "./start-gate.ts";

const BACKOFF: BackoffTimes = { firstMs: 500, longestMs: 5_000 };
const SAY_EVERY_MS = 10_000;

export interface RuntimeLinkOptions {
  /** Of the runtime's NRI. */
  readonly socket: string;
  readonly log: Logger;
  /** What is known of addresses has changed. */
  readonly changed: () => void;
  /** The runtime began to tell, or ceased. */
  readonly onConnection: () => void;
  readonly backoff?: BackoffTimes;
}

/**
 * The node's container runtime, as far as it tells of addresses before kubelet does (docs/adr/0030-nri.md). Nothing depends on it: while there is no connection
 * everything is as it is without.
 */
export class RuntimeLink {
  readonly #options: RuntimeLinkOptions;
  readonly #backoff: Backoff;
  readonly #sandboxes: Sandboxes;
  readonly #gate: StartGate;
  readonly #late = new RateLimit(SAY_EVERY_MS);
  #socket: Socket | null = null;
  #session: NriSession | null = null;
  #timer: NodeJS.Timeout | null = null;
  #runtime: string | null = null;
  #connections = 0;
  /** Why there is no connection, as it was said last; null: there is one, or nothing was tried yet. */
  #trouble: string | null = null;
  #closed = false;

  constructor(options: RuntimeLinkOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.backoff ?? BACKOFF);
    this.#sandboxes = new Sandboxes((pod, told) => this.#sayDisagreement(pod, told));
    this.#gate = new StartGate((uid) => this.#sandboxes.settledOf(uid));
  }

  get report(): RuntimeReport {
    const { socket } = this.#options;
    const { counts } = this.#gate;
    const { running, disagreements } = this.#sandboxes;
    return {
      ...{ socket, connected: this.#runtime !== null, runtime: this.#runtime, trouble: this.#trouble },
      ...{ connections: this.#connections, sandboxes: running, disagreements, starts: { ...counts } },
    };
  }

  start(): void {
    if (this.#closed || this.#socket !== null) return;
    const socket = connect({ path: this.#options.socket });
    this.#socket = socket;
    const failed = (error: NodeJS.ErrnoException): void => this.#onClose(explain(error));
    socket.once("error", failed);
    socket.once("connect", () => {
      socket.removeListener("error", failed);
      this.#session = new NriSession(socket, {
        onSandboxes: (sandboxes, runtime) => this.#onSandboxes(sandboxes, runtime),
        onRun: (sandbox) => this.#onRun(sandbox),
        onStop: (sandbox) => {
          this.#sandboxes.stop(sandbox);
          this.#options.changed();
        },
        onClose: (why) => this.#onClose(why),
      });
    });
  }

  /** What the runtime knows better of the pods that the API server has told. */
  settle(pods: readonly Pod[]): readonly Pod[] {
    return this.#sandboxes.settle(pods);
  }

  /** These are the kernel's by now. */
  inForce(workloads: readonly Workload[]): void {
    this.#gate.inForce(workloads);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#session?.close("the agent ends");
    this.#socket?.destroy();
    this.#gate.open();
  }

  #onSandboxes(sandboxes: readonly PodSandbox[], { runtime, version, requestTimeout }: Configure): void {
    this.#backoff.worked();
    this.#connections++;
    this.#trouble = null;
    this.#runtime = `${runtime} ${version}`.trim();
    this.#gate.allow(requestTimeout);
    this.#sandboxes.replace(sandboxes);
    this.#options.log.info(
      {
        event: "nri-connected",
        runtime: this.#runtime,
        sandboxes: sandboxes.length,
        waitMilliseconds: this.#gate.limit,
      },
      "the runtime tells addresses of pods before their containers start",
    );
    this.#options.onConnection();
    this.#options.changed();
  }

  async #onRun(sandbox: PodSandbox): Promise<void> {
    if (sandbox.addresses.length === 0) return this.#gate.pass();
    this.#sandboxes.run(sandbox);
    this.#options.changed();
    // A static pod has another UID here than its object has.
    if (sandbox.source !== "api") return this.#gate.pass();
    if (await this.#gate.hold(sandbox.uid)) return;
    const suppressed = this.#late.allow(performance.now());
    if (suppressed === null) return;
    const settled = this.#sandboxes.settledOf(sandbox.uid) !== null;
    const reason = settled
      ? "the change is not in force yet, or another pod claims its address"
      : "the API server has not told of it";
    const pod = `${sandbox.namespace}/${sandbox.name}`;
    this.#options.log.warn(
      { event: "pod-started-unknown", pod, reason, suppressed },
      "the pod starts before who it is is in force: what it sends is held until then",
    );
  }

  #onClose(why: string): void {
    const was = this.#runtime;
    this.#socket?.destroy();
    this.#socket = null;
    this.#session = null;
    this.#runtime = null;
    if (this.#closed) return;
    this.#sandboxes.clear();
    this.#gate.open();
    if (was !== null || why !== this.#trouble) {
      this.#options.log.warn(
        { event: "nri-away", socket: this.#options.socket, reason: why },
        "addresses of pods come from the API server alone, as without NRI; it is tried again",
      );
    }
    this.#trouble = why;
    this.#backoff.failed();
    this.#timer = setTimeout(() => this.start(), this.#backoff.pause());
    this.#options.onConnection();
    if (was !== null) this.#options.changed();
  }

  #sayDisagreement({ namespace, name, addresses }: Pod, told: readonly Address[]): void {
    this.#options.log.warn(
      {
        event: "nri-disagrees",
        pod: `${namespace}/${name}`,
        runtime: told.map(formatAddress),
        apiServer: addresses.map(formatAddress),
      },
      "the runtime tells another address of the pod than the API server: that of the API server holds",
    );
  }
}

function explain({ code, message }: NodeJS.ErrnoException): string {
  if (code === "ENOENT") return "no such socket: the runtime has no NRI (containerd 2.1, CRI-O 1.32), or it is off";
  if (code === "ECONNREFUSED") return "nobody listens on the socket: the runtime is away";
  return message;
}
