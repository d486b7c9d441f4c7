import { setTimeout as sleep } from "node:timers/promises";
import { Backoff } from "./backoff.ts";
import { type Change, changesBetween, differences, same } from "./changes.ts";
import { type KubeClient, KubeError } from "./client.ts";
import { listPages, pathOf, type Selection } from "./listing.ts";
import { type Fields, fields, type Hold, type KubeObject, keep, type Trim } from "./object.ts";
import { LineCutter, LineTooLong } from "./pieces.ts";

/** The objects of one kind, perhaps only some of them. */
export interface Resource extends Selection {
  /** As it stands in logs, metrics and status. */
  readonly name: string;
  readonly trim: Trim;
  /** Default: as they are. */
  readonly hold?: Hold;
  /** An API server may be without it, or not tell us: then there are none. */
  readonly optional?: boolean;
  /** Its kind is defined in the API server, by a definition that may change. */
  readonly custom?: boolean;
}

export interface ReflectorTimes {
  /** A watch is asked to last this long, and up to twice as long. */
  readonly watchMs: number;
  /** Bookmarks come about once a minute: silence of this length, and up to a quarter more, re-opens the watch. */
  readonly silenceMs: number;
  /** Silence in the midst of a list. */
  readonly listSilenceMs: number;
  /** A watch that ends sooner than this has told nothing: the next one waits. */
  readonly shortMs: number;
  /** How long to wait before asking again for what the server does not serve, and up to twice as long. */
  readonly absentMs: number;
  /** Longer than a server goes on to tell objects by an old definition of their kind. */
  readonly oldDefinitionMs: number;
}

/** Eleven quiet watches make 0.004 requests a second; without bookmarks (a server without watch cache) 0.035. */
export const REFLECTOR_TIMES: ReflectorTimes = {
  watchMs: 30 * 60_000,
  silenceMs: 300_000,
  listSilenceMs: 30_000,
  shortMs: 1_000,
  absentMs: 60_000,
  oldDefinitionMs: 15_000,
};

export interface ReflectorListener {
  /** In order; those of a list come together. A re-created object is removed, then added. Nothing is told of what was trimmed. */
  onChanges(changes: readonly Change[], reflector: Reflector): void;
  /** The first list is whole, or what is optional is not there. */
  onSynced(reflector: Reflector): void;
  onTrouble(reflector: Reflector, message: string): void;
}

export interface ReflectorCounts {
  /** Watches opened after the first. */
  watchRestarts: number;
  /** Lists after the first. */
  relists: number;
  /** Lines that could not be used. */
  refused: number;
}

/** Without a word from several watches in a row the place to go on from may be what is wrong with them. */
const FUTILE_WATCHES = 5;
const GONE = 410;
/** A watch that ends so much before its time was ended by something else. */
const EARLY_MS = 10_000;
/** A server that stops says so on the connection at about the time that it ends its watches. */
const STOP_SAID_MS = 250;

/**
 * Holds the objects of a resource as the API server has them: lists them, watches from there, and begins anew where the watch
 * cannot go on. What is known stays known through any outage; it is replaced by a whole list only. Resource versions
 * are given back as they came, and never compared.
 */
export class Reflector {
  readonly resource: Resource;
  readonly counts: ReflectorCounts = { watchRestarts: 0, relists: 0, refused: 0 };
  readonly #client: KubeClient;
  readonly #listener: ReflectorListener;
  readonly #times: ReflectorTimes;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  #objects = new Map<string, KubeObject>();
  #version: string | null = null;
  #synced = false;
  /** There was a list. */
  #told = false;
  #lists = 0;
  #watches = 0;
  #futile = 0;
  /** When a watch last told an object. */
  #toldAt = Number.NEGATIVE_INFINITY;
  /** What went wrong last; null while all is well. */
  trouble: string | null = null;
  /** The server does not serve this resource. */
  absent = false;
  phase: "listing" | "watching" | "waiting" = "listing";
  /** When the server last said something of it, in milliseconds of Unix time; 0: never. */
  heardAt = 0;

  constructor(
    resource: Resource,
    client: KubeClient,
    listener: ReflectorListener,
    times: ReflectorTimes = REFLECTOR_TIMES,
    backoff = new Backoff(),
  ) {
    this.resource = resource;
    this.#client = client;
    this.#listener = listener;
    this.#times = times;
    this.#backoff = backoff;
  }

  get objects(): ReadonlyMap<string, KubeObject> {
    return this.#objects;
  }

  /** The server has said what there is. Before that `objects` is empty, or what was remembered. */
  get synced(): boolean {
    return this.#synced;
  }

  /** What an earlier run knew, held as the resource says, for as long as there is no list. */
  remember(objects: Iterable<KubeObject>): void {
    if (this.#synced) return;
    for (const object of objects) this.#objects.set(object.key, object);
  }

  start(): void {
    void this.#run();
  }

  close(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const began = performance.now();
      const told = this.heardAt;
      try {
        if (this.#version === null) {
          await this.#list();
          // The pause belongs to the watch that could not go on: it grows until one can, and a list is followed by one at once.
          continue;
        }
        await this.#watch();
        this.#ended(performance.now() - began, this.heardAt !== told);
      } catch (error) {
        if (signal.aborted) return;
        this.#failed(error instanceof KubeError ? error : new KubeError(0, String(error)), this.heardAt !== told);
      }
      await this.#wait(this.#pause());
    }
  }

  #pause(): number {
    if (this.absent && this.resource.optional === true) return this.#times.absentMs * (1 + Math.random());
    return this.#backoff.pause();
  }

  #ended(lastedMs: number, told: boolean): void {
    this.trouble = null;
    if (told || lastedMs >= this.#times.shortMs) {
      this.#backoff.worked();
      this.#futile = 0;
    } else this.#useless();
  }

  #failed(error: KubeError, told: boolean): void {
    const { status, message } = error;
    this.#forgetPlace(error);
    this.absent = status === 404 || (status === 403 && this.resource.optional === true && !this.#told);
    if (this.absent) this.#notServed();
    if (told) this.#backoff.worked();
    // A watch that was cut after it had told something goes on at once, once.
    if (!(told && status === 0 && this.phase === "watching")) this.#backoff.failed(error.retryAfterMs);
    if (!told && this.phase === "watching" && status !== 0) this.#useless();
    if (status === GONE || (status === 404 && this.resource.optional === true)) return;
    this.trouble = message;
    this.#listener.onTrouble(this, message);
  }

  /** Where the next watch would begin is not there any more, is none, or what was told from there was lost. */
  #forgetPlace(error: KubeError): void {
    const { status } = error;
    const refused = status >= 400 && status < 500 && ![401, 403, 404, 408, 429].includes(status);
    if (refused || error instanceof LineTooLong) this.#version = null;
    if (error instanceof LineTooLong) this.counts.refused++;
  }

  #useless(): void {
    this.#backoff.failed();
    if (++this.#futile >= FUTILE_WATCHES) {
      this.#futile = 0;
      this.#version = null;
    }
  }

  /**
   * An API server that has just started answers 404 to what it has not yet read the definitions of. So what is known is not
   * taken away by that, and that there are no policies is not believed.
   */
  #notServed(): void {
    this.#version = null;
    if (this.resource.optional !== true || this.#synced) return;
    this.#synced = true;
    this.#listener.onSynced(this);
  }

  async #list(): Promise<void> {
    this.phase = "listing";
    if (this.#lists++ > 0) this.counts.relists++;
    const found = new Map<string, KubeObject>();
    const version = await this.#pages(found);
    this.absent = false;
    this.#told = true;
    this.trouble = null;
    const before = this.#objects;
    const changes = differences(before, found);
    this.#objects = found;
    this.#version = version;
    if (changes.length > 0) this.#listener.onChanges(changes, this);
    if (this.#synced) return;
    this.#synced = true;
    this.#listener.onSynced(this);
  }

  /** @returns the list's version */
  #pages(found: Map<string, KubeObject>): Promise<string> {
    const { trim } = this.resource;
    return listPages(this.#client, this.resource, {
      onItem: (text) => {
        const object = this.#read(text, trim);
        const known = this.#objects.get(object.key);
        // One object for one content: what is made of it is remembered by it.
        found.set(object.key, known !== undefined && same(known, object) ? known : this.#hold(object));
      },
      onRestart: () => found.clear(),
      onOpen: () => this.#heard(),
      silenceMs: this.#times.listSilenceMs,
      signal: this.#stop.signal,
    });
  }

  /** @throws KubeError: a list without it would take the object away */
  #read(text: string, trim: Trim): KubeObject {
    try {
      const object = keep(JSON.parse(text) as Fields, trim);
      if (object !== null) return object;
    } catch {
      // Said below.
    }
    this.counts.refused++;
    throw new KubeError(0, "an object of the list cannot be read");
  }

  async #watch(): Promise<void> {
    if (this.#watches++ > 0) this.counts.watchRestarts++;
    this.phase = "waiting";
    const { watchMs, silenceMs } = this.#times;
    const lines = new LineCutter((line) => this.#event(line));
    const seconds = Math.ceil((watchMs * (1 + Math.random())) / 1000);
    const until = performance.now() + seconds * 1000;
    const query = {
      watch: "1",
      allowWatchBookmarks: "true",
      resourceVersion: this.#version!,
      timeoutSeconds: String(seconds),
    };
    try {
      await this.#client.read({
        path: pathOf(this.resource, query),
        onOpen: () => {
          this.phase = "watching";
          this.trouble = null;
        },
        onChunk: (chunk) => lines.push(chunk),
        silenceMs: silenceMs * (1 + Math.random() / 4),
        signal: this.#stop.signal,
      });
    } finally {
      this.#doubtLastTold();
    }
    if (this.resource.custom === true && performance.now() < until - EARLY_MS) await this.#redefined();
  }

  /**
   * When the definition of a kind changes, its watches go on for a second by the old one, under which fields that are new are left
   * out of what they tell; then they end, alone. What was told so would never be told again, so it is listed.
   */
  async #redefined(): Promise<void> {
    await this.#wait(STOP_SAID_MS);
    if (this.#client.connected) this.#version = null;
  }

  /**
   * The same, where that end cannot be seen because the watch ended otherwise just then: its time was over, its connection broke, or the server
   * had said that it would end it. A field that was left out may be the one that narrows an Allow.
   */
  #doubtLastTold(): void {
    const since = performance.now() - this.#toldAt;
    if (this.resource.custom === true && since < this.#times.oldDefinitionMs) this.#version = null;
  }

  /** @throws KubeError where the watch cannot go on */
  #event(line: string): void {
    let event: Fields;
    try {
      event = JSON.parse(line) as Fields;
    } catch {
      this.counts.refused++;
      // What it said is lost: only a list can tell.
      throw new KubeError(GONE, "a line of the watch is no JSON");
    }
    const object = fields(event["object"]);
    if (event["type"] === "ERROR") {
      const { code, message } = object;
      throw new KubeError(typeof code === "number" ? code : 0, String(message ?? "the watch has failed"));
    }
    this.#heard();
    const version = fields(object["metadata"])["resourceVersion"];
    if (event["type"] !== "BOOKMARK") {
      this.#toldAt = performance.now();
      const kept = keep(object, this.resource.trim);
      if (kept === null) {
        this.counts.refused++;
        throw new KubeError(GONE, "an object of the watch has no name");
      }
      this.#apply(String(event["type"]), kept);
    }
    if (typeof version === "string" && version !== "") this.#version = version;
  }

  #apply(type: string, told: KubeObject): void {
    const before = this.#objects.get(told.key);
    if (type === "DELETED") {
      // The end of an object that another of its name has replaced is not the end of that one.
      if (before === undefined || before.uid !== told.uid) return;
      this.#objects.delete(told.key);
      this.#listener.onChanges([{ type: "removed", object: before }], this);
      return;
    }
    if (before !== undefined && same(before, told)) return;
    const object = this.#hold(told);
    this.#objects.set(object.key, object);
    this.#listener.onChanges(changesBetween(before, object), this);
  }

  #hold(object: KubeObject): KubeObject {
    return this.resource.hold?.(object) ?? object;
  }

  #heard(): void {
    this.heardAt = Date.now();
  }

  /** Shorter when the reflector is closed. */
  async #wait(ms: number): Promise<void> {
    if (ms <= 0) return;
    this.phase = "waiting";
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}
