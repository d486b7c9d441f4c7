import type { Duplex } from "node:stream";
import {
  type Configure,
  EVENT,
  EVENTS,
  MOST_SANDBOXES,
  PLUGIN_SERVICE,
  type PodSandbox,
  RUNTIME_SERVICE,
  readConfigure,
  readPodRequest,
  readStateChange,
  readSynchronize,
  writeConfigured,
  writeRegister,
  writeSynchronized,
} from "./messages.ts";
import { CONNECTION, MOST_WRITTEN, MuxReader, muxPiece } from "./mux.ts";
import {
  CODE,
  MESSAGE,
  type Message,
  type Response,
  readRequest,
  readResponse,
  TtrpcReader,
  writeMessage,
  writeRequest,
  writeResponse,
} from "./ttrpc.ts";

const NAME = "sallyport";
/** Behind plug-ins that take their time: meanwhile the API server tells who the pod is. */
const INDEX = "90";
/** A runtime waits 5 s for a plug-in that registers, and registers one after the other. */
const READY_MS = 20_000;
/** A runtime asks one thing at a time. */
const MOST_ASKED = 64;
/** Bytes of answers that wait for the runtime to read them. */
const MOST_UNREAD = MOST_ASKED * MOST_WRITTEN;
const NOTHING = new Uint8Array();

/** What a runtime tells. */
export interface RuntimeListener {
  /** All sandboxes that there are; from here on each change is told. */
  readonly onSandboxes: (sandboxes: readonly PodSandbox[], runtime: Configure) => void;
  /** A sandbox has its network, and no container yet: none starts before this resolves, which has to be in time. */
  readonly onRun: (sandbox: PodSandbox) => Promise<void>;
  /** Nothing runs in it any more. Told twice, or of one that was never told. */
  readonly onStop: (sandbox: PodSandbox) => void;
  /** Once, with one line on why. */
  readonly onClose: (why: string) => void;
}

/**
 * A plug-in of a container runtime (NRI) over one socket: registers, says that it wants to hear of sandboxes, and asks for no change to anything.
 * Whatever comes over the socket ends this session at the worst.
 */
export class NriSession {
  readonly #socket: Duplex;
  readonly #listener: RuntimeListener;
  readonly #deadline: NodeJS.Timeout;
  #runtime: Configure = { runtime: "", version: "", requestTimeout: 0 };
  #sandboxes: PodSandbox[] = [];
  /** All sandboxes were told. What is told of one before that, the list would make forgotten: it is not passed on. */
  #listed = false;
  #asked = 0;
  #closed = false;

  /** `socket`: connected. */
  constructor(socket: Duplex, listener: RuntimeListener) {
    this.#socket = socket;
    this.#listener = listener;
    this.#deadline = setTimeout(() => this.close("the runtime does not register plug-ins"), READY_MS);
    const asked = new TtrpcReader((message) => this.#onAsked(message));
    const answered = new TtrpcReader((message) => this.#onAnswered(message));
    let problem: string | null = null;
    const mux = new MuxReader((connection, bytes) => {
      if (problem !== null) return;
      if (connection === CONNECTION.plugin) problem = asked.read(bytes);
      else if (connection === CONNECTION.runtime) problem = answered.read(bytes);
    });
    socket.on("data", (chunk: Buffer) => {
      if (this.#closed) return;
      try {
        problem = mux.read(chunk) ?? problem;
      } catch (error) {
        // Ours, and no reason to stop enforcing.
        problem = String(error);
      }
      if (problem !== null) this.close(problem);
    });
    socket.on("error", (error: Error) => this.close(error.message));
    socket.on("close", () => this.close("the runtime has closed the connection"));
    const payload = writeRegister(NAME, INDEX);
    const request = writeRequest({ service: RUNTIME_SERVICE, method: "RegisterPlugin", payload });
    this.#send(CONNECTION.runtime, { stream: 1, type: MESSAGE.request, payload: request });
  }

  close(why: string): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#deadline);
    this.#socket.destroy();
    this.#listener.onClose(why);
  }

  #onAnswered({ payload }: Message): void {
    const response = readResponse(payload);
    if (response === null) this.close("the runtime's answer to the registration cannot be read");
    else if (response.code !== CODE.ok) this.close(`the runtime refuses plug-ins: ${response.trouble}`);
  }

  #onAsked({ stream, type, payload }: Message): void {
    if (type !== MESSAGE.request || this.#closed) return;
    if (this.#asked >= MOST_ASKED) {
      this.close("the runtime asks too much at once");
      return;
    }
    const request = readRequest(payload);
    const answer =
      request === null
        ? refusal(CODE.invalidArgument, "not a request")
        : request.service === PLUGIN_SERVICE
          ? this.#answer(request.method, request.payload)
          : refusal(CODE.unimplemented, "no such service");
    if (!(answer instanceof Promise)) {
      this.#respond(stream, answer);
      return;
    }
    this.#asked++;
    const done = (): void => {
      this.#asked--;
      this.#respond(stream, agreement());
    };
    answer.then(done, done);
  }

  #answer(method: string, payload: Uint8Array): Response | Promise<void> {
    switch (method) {
      case "Configure":
        return this.#configure(payload);
      case "Synchronize":
        return this.#synchronize(payload);
      case "RunPodSandbox":
        return this.#event(EVENT.runPodSandbox, readPodRequest(payload));
      case "StopPodSandbox":
      case "RemovePodSandbox":
        return this.#event(EVENT.stopPodSandbox, readPodRequest(payload));
      case "StateChange": {
        const change = readStateChange(payload);
        return this.#event(change?.event ?? 0, change?.pod ?? null);
      }
      case "Shutdown":
        return agreement();
      default:
        return refusal(CODE.unimplemented, "not subscribed");
    }
  }

  #configure(payload: Uint8Array): Response {
    const configure = readConfigure(payload);
    if (configure === null) return refusal(CODE.invalidArgument, "not a configuration");
    this.#runtime = configure;
    return agreement(writeConfigured(EVENTS));
  }

  #synchronize(payload: Uint8Array): Response {
    const part = readSynchronize(payload);
    if (part === null) return refusal(CODE.invalidArgument, "not a list of sandboxes");
    this.#sandboxes.push(...part.sandboxes);
    // Of a part of them nobody could say whether two have one address.
    if (this.#sandboxes.length > MOST_SANDBOXES)
      this.close(`the runtime tells of more than ${MOST_SANDBOXES} sandboxes`);
    else if (!part.more) {
      clearTimeout(this.#deadline);
      this.#listed = true;
      const all = this.#sandboxes;
      this.#sandboxes = [];
      this.#listener.onSandboxes(all, this.#runtime);
    }
    return agreement(writeSynchronized(part.more));
  }

  /** What cannot be read is agreed to: an error would keep the pod from starting. */
  #event(event: number, sandbox: PodSandbox | null): Response | Promise<void> {
    if (sandbox === null || !this.#listed) return agreement();
    if (event === EVENT.runPodSandbox) return this.#listener.onRun(sandbox);
    if (event === EVENT.stopPodSandbox || event === EVENT.removePodSandbox) this.#listener.onStop(sandbox);
    return agreement();
  }

  #respond(stream: number, response: Response): void {
    this.#send(CONNECTION.plugin, { stream, type: MESSAGE.response, payload: writeResponse(response) });
  }

  #send(connection: number, message: Message): void {
    const bytes = writeMessage(message);
    if (this.#closed || bytes.length > MOST_WRITTEN) return;
    this.#socket.write(muxPiece(connection, bytes));
    if (this.#socket.writableLength > MOST_UNREAD) this.close("the runtime does not read answers");
  }
}

function agreement(payload: Uint8Array = NOTHING): Response {
  return { code: CODE.ok, trouble: "", payload };
}

function refusal(code: number, trouble: string): Response {
  return { code, trouble, payload: NOTHING };
}
