import { networkInterfaces } from "node:os";
import type { AgentConfig } from "../model/config.ts";
import type { DestinationGroup, Policy } from "../model/policy.ts";
import type { Workload } from "../model/workload.ts";
import { type Address, parseAddress } from "../net/address.ts";
import { type DocumentFile, DocumentReader, hasErrors, putAway } from "../policy/documents.ts";
import { formatProblem } from "../policy/problem.ts";
import { readPlainDocuments } from "../policy/source.ts";
import { type WorkloadFileListener, WorkloadFileSource } from "../workloads/file-source.ts";
import { DocumentFiles } from "../workloads/files.ts";
import { IdentityTable } from "../workloads/identity.ts";
import { podsOnHost } from "../workloads/objects.ts";
import { TEXT_PACKER } from "../workloads/text-packer.ts";
import { ChangePace } from "./change-pace.ts";
import type { Logger } from "./log.ts";
import type { AgentOptions } from "./options.ts";
import { PathWatch } from "./path-watch.ts";
import type { Inputs } from "./state.ts";

interface Documents {
  readonly policies: readonly Policy[];
  readonly groups: readonly DestinationGroup[];
  readonly config: AgentConfig;
}

type Loaded = { readonly documents: Documents } | { readonly problems: readonly string[] };

/**
 * Where the agent's inputs come from: documents and workloads on disk, followed for changes. What cannot be used is said
 * once and changes nothing: bad input never replaces what runs.
 */
export class Sources {
  readonly #options: AgentOptions;
  readonly #log: Logger;
  readonly #changed: (inputs: Inputs) => void;
  readonly #files = new DocumentFiles(TEXT_PACKER);
  /** An agent has nobody to warn, and few of a cluster's policies concern it. */
  readonly #reader = new DocumentReader(false, TEXT_PACKER);
  /** What was read last, or why it could not be. */
  #read: readonly DocumentFile[] | string = [];
  #documents: Documents;
  #workloads: readonly Workload[] | null = null;
  #nodes: readonly Address[] = [];
  #onHost: readonly Workload[] = [];
  #watch: PathWatch | null = null;
  #file: WorkloadFileSource | null = null;
  readonly #identities = new IdentityTable();
  readonly #pace = new ChangePace(() => this.#changed(this.inputs));
  #started = false;

  /** @throws Error with all problems, a line each, when the documents or the workloads cannot be used */
  constructor(options: AgentOptions, log: Logger, changed: (inputs: Inputs) => void) {
    this.#options = options;
    this.#log = log;
    this.#changed = changed;
    const loaded = this.#load();
    if (loaded === null || "problems" in loaded) throw new Error((loaded?.problems ?? []).join("\n"));
    this.#documents = loaded.documents;
    this.#file = this.#followWorkloads();
    if (this.#workloads === null) {
      this.#file.close();
      throw new Error(`no workloads: \`${options.workloads}\` cannot be used`);
    }
    this.#started = true;
  }

  get inputs(): Inputs {
    return {
      ...this.#documents,
      workloads: this.#workloads ?? [],
      onHost: this.#onHost,
      nodeAddresses: [...ownAddresses(), ...this.#nodes],
    };
  }

  /** Of an API server, and there is none. */
  get report(): null {
    return null;
  }

  /** By `agent --remove` only. */
  get uninstalling(): boolean {
    return false;
  }

  /** Nobody is told what is in force. */
  applied(): void {}

  inForce(): void {}

  tellStatus(): void {}

  silence(): void {}

  /** What names the workload of an id across restarts of the agent; null: nobody has it. */
  keyOf(id: number): string | null {
    return this.#identities.keyOf(id);
  }

  /** Follows the documents from now on. */
  follow(): void {
    const { policies, config } = this.#options;
    this.#watch = new PathWatch(config === null ? policies : [...policies, config], () => this.reload());
  }

  /** Reads the documents again, and tells what they are if they can be used. Returns whether they have changed. */
  reload(): boolean {
    const loaded = this.#load();
    if (loaded === null) return false;
    if ("problems" in loaded) {
      this.#log.error(
        { event: "documents-refused", problems: loaded.problems },
        "documents have errors: what ran goes on",
      );
      return true;
    }
    this.#documents = loaded.documents;
    this.#pace.changed();
    return true;
  }

  /** Lets what was read take as little memory as it can. */
  putAway(): void {
    this.#files.putAway();
    putAway(this.#documents.policies);
  }

  async close(): Promise<void> {
    this.#pace.close();
    this.#watch?.close();
    this.#file?.close();
  }

  /** Null: nothing has changed since the last time. */
  #load(): Loaded | null {
    const { policies: paths, config: own } = this.#options;
    const read = this.#readFiles(own === null ? paths : [...paths, own]);
    if (isSame(read, this.#read)) return null;
    this.#read = read;
    if (typeof read === "string") return { problems: read.split("\n") };
    const { policies, groups, configs, problems } = this.#reader.load(read);
    if (hasErrors(problems)) {
      return { problems: problems.filter(({ severity }) => severity === "error").map(formatProblem) };
    }
    const [config] = configs;
    if (config !== undefined) return { documents: { policies, groups, config } };
    const problem =
      own === null
        ? "no AgentConfig document: give one with `--config FILE`, it says which resolvers and ranges are the cluster's"
        : `\`${own}\`: no AgentConfig document in it: write one, it says which resolvers and ranges are the cluster's`;
    return { problems: [problem] };
  }

  #readFiles(paths: readonly string[]): readonly DocumentFile[] | string {
    try {
      return this.#files.read(paths);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #followWorkloads(): WorkloadFileSource {
    const listener: WorkloadFileListener = {
      onSnapshot: (snapshot) => {
        for (const problem of snapshot.problems) this.#log.warn({ event: "workload-left-out", problem });
        this.#workloads = snapshot.workloads;
        this.#nodes = snapshot.nodeAddresses;
        this.#onHost = podsOnHost(snapshot);
        if (this.#started) this.#pace.changed();
      },
      onProblem: (problem) => {
        this.#log.error({ event: "workloads-refused", problem }, "the workloads cannot be read: those known stay");
      },
    };
    return new WorkloadFileSource(this.#options.workloads, this.#identities, listener, readPlainDocuments);
  }
}

/** The addresses of this network namespace, which is the node's. */
export function ownAddresses(): Address[] {
  return Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .flatMap(({ address }) => parseAddress(address) ?? []);
}

/** A file that has not changed is the same object. */
function isSame(a: readonly DocumentFile[] | string, b: readonly DocumentFile[] | string): boolean {
  if (typeof a === "string" || typeof b === "string") return a === b;
  return a.length === b.length && a.every((file, index) => file === b[index]);
}
