import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fields, type Hold, type KubeObject } from "../../kube/object.ts";
import { type Address, parseAddress } from "../../net/address.ts";
import { TEXT_PACKER } from "../../workloads/text-packer.ts";
import { clusterName, makeStateFolder } from "../journal/folder.ts";
import { decodeMemory, encodeMemory } from "./memory-file.ts";

const MAX_BYTES = 64 * 1024 * 1024;
/** Changes of a resource are written together, at most this often, and so that writing takes a twentieth of the time. */
const WRITE_EVERY_MS = 1_000;
const WRITE_SHARE = 20;
const FIRST_WRITE_MS = 100;
/** Bytes that are written at once. */
const PIECE = 256 * 1024;

const { O_CREAT, O_NOFOLLOW, O_RDONLY, O_TRUNC, O_WRONLY } = constants;

export interface Remembered {
  readonly objects: readonly KubeObject[];
  /** Milliseconds of Unix time. */
  readonly savedAt: number;
}

/**
 * What was known of a cluster, a file for each resource in the state folder: an agent that starts while the API server
 * is away enforces that. Only for the node whose agent wrote it.
 */
export class ClusterMemory {
  readonly #folder: string;
  readonly #node: string;
  readonly #writers = new Map<string, Writer>();
  readonly #onTrouble: (message: string) => void;
  #closed = false;

  constructor(folder: string, node: string, onTrouble: (message: string) => void) {
    this.#folder = folder;
    this.#node = node;
    this.#onTrouble = onTrouble;
  }

  /** As `hold` holds them; null: nothing that can be used. @throws Error where the folder cannot be trusted */
  read(resource: string, hold: Hold = (object) => object): Remembered | null {
    makeStateFolder(this.#folder);
    const objects: KubeObject[] = [];
    const head = readMemory(this.#path(resource), (object) => objects.push(hold(object)));
    return head?.node === this.#node ? { objects, savedAt: head.savedAt } : null;
  }

  /** Something has changed; `take` says what is to be written when it is. */
  changed(resource: string, take: () => Iterable<KubeObject>): void {
    if (this.#closed) return;
    let writer = this.#writers.get(resource);
    if (writer === undefined) {
      writer = new Writer(() => this.#write(resource, [...take()]));
      this.#writers.set(resource, writer);
    }
    writer.soon();
  }

  /** Writes what was not written yet. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#writers.values()].map((writer) => writer.close()));
  }

  #path(resource: string): string {
    return join(this.#folder, clusterName(resource));
  }

  async #write(resource: string, objects: readonly KubeObject[]): Promise<void> {
    const path = this.#path(resource);
    // Two agents may write at once while one takes over: each its own file, and the last one stays.
    const next = `${path}.${process.pid}`;
    try {
      makeStateFolder(this.#folder);
      const file = await open(next, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600);
      try {
        const head = { node: this.#node, savedAt: Date.now() };
        let size = 0;
        for (const piece of inPieces(encodeMemory(head, objects, TEXT_PACKER))) {
          size += piece.length;
          if (size > MAX_BYTES) throw new Error(`${resource} take more than ${MAX_BYTES >> 20} MiB`);
          await file.writeFile(piece);
        }
      } finally {
        await file.close();
      }
      await rename(next, path);
    } catch (error) {
      await rm(next, { force: true }).catch(() => undefined);
      this.#onTrouble(error instanceof Error ? error.message : String(error));
    }
  }
}

/** The pods of a node and their addresses, as its agent last wrote them down; none where it did not. */
export function rememberedPods(folder: string): readonly { namespace: string; addresses: readonly Address[] }[] {
  const pods: { namespace: string; addresses: readonly Address[] }[] = [];
  const head = readMemory(join(folder, clusterName("pods")), ({ key, value }) => {
    const { podIPs, podIP } = fields(value["status"]);
    const { hostNetwork } = fields(value["spec"]);
    if (hostNetwork === true) return;
    const listed = Array.isArray(podIPs) ? podIPs.map((one) => fields(one)["ip"]) : [podIP];
    const addresses = listed.flatMap((ip) => (typeof ip === "string" ? (parseAddress(ip) ?? []) : []));
    pods.push({ namespace: key.split("/")[0]!, addresses });
  });
  return head === null ? [] : pods;
}

/** What `take` was given counts if this returns something. */
function readMemory(path: string, take: (object: KubeObject) => void): ReturnType<typeof decodeMemory> {
  const file = readWhole(path);
  if (file === null) return null;
  try {
    return decodeMemory(file, TEXT_PACKER, take);
  } catch {
    return null;
  }
}

function* inPieces(parts: Iterable<Uint8Array>): Generator<Uint8Array> {
  let piece: Uint8Array[] = [];
  let size = 0;
  for (const part of parts) {
    piece.push(part);
    size += part.length;
    if (size < PIECE) continue;
    yield Buffer.concat(piece);
    piece = [];
    size = 0;
  }
  yield Buffer.concat(piece);
}

/** Calls `write` after a change, never twice at the same time, and not again for a while. */
class Writer {
  readonly #write: () => Promise<void>;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> = Promise.resolve();
  #next = 0;

  constructor(write: () => Promise<void>) {
    this.#write = write;
  }

  soon(): void {
    const pause = Math.max(FIRST_WRITE_MS, this.#next - performance.now());
    this.#timer ??= setTimeout(() => this.#begin(), pause);
  }

  async close(): Promise<void> {
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#begin();
    }
    await this.#writing;
  }

  #begin(): void {
    this.#timer = null;
    this.#writing = this.#writing.then(async () => {
      const began = performance.now();
      await this.#write();
      const ended = performance.now();
      this.#next = ended + Math.max(WRITE_EVERY_MS, WRITE_SHARE * (ended - began));
    });
  }
}

function readWhole(path: string): Buffer | null {
  let descriptor: number;
  try {
    descriptor = openSync(path, O_RDONLY | O_NOFOLLOW);
  } catch {
    return null;
  }
  try {
    const { size } = fstatSync(descriptor);
    return size > MAX_BYTES ? null : readFileSync(descriptor);
  } catch {
    return null;
  } finally {
    closeSync(descriptor);
  }
}
