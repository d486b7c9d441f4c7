import { COLON, CR, HTAB, hexValue, LF, SP, TOKEN } from "../../net/ascii.ts";

/**
 * What the piece just read was: `framing` (chunk sizes, line ends, trailers: the bytes that say where the next request
 * starts), `data` (opaque), `need` (nothing read, more bytes wanted), `done` (nothing read, the body is over), or wrong.
 */
export type BodyStep = "framing" | "data" | "need" | "done" | "malformed";

export type BodyProblem =
  | "ChunkSize"
  | "ChunkExtension"
  | "ChunkEnd"
  | "TrailerCharacter"
  | "TrailerName"
  | "TrailerTooLong"
  | "ForbiddenTrailer";

const MAX_SIZE_DIGITS = 8;
const MAX_TRAILERS = 8192;
const LONGEST_FORBIDDEN = 17;
const FORBIDDEN = ["host", "connection", "content-length", "transfer-encoding", "trailer", "upgrade"];

type State =
  | "fixed"
  | "sizeFirst"
  | "size"
  | "sizeEnd"
  | "chunk"
  | "chunkCR"
  | "chunkLF"
  | "lineStart"
  | "name"
  | "value"
  | "valueLF"
  | "lastLF"
  | "done";

/**
 * Walks over one request body without keeping it, split anywhere. Chunked coding is read strictly (RFC 9112 §7.1): an
 * extension, a bare LF or a long size is malformed, because servers disagree on them (EVASION 40).
 */
export class BodyReader {
  /** Just after the piece that the last `step` read. */
  next = 0;
  problem: BodyProblem | null = null;
  #state: State;
  #remaining: number;
  #digits = 0;
  #trailers = 0;
  #name = "";

  /** `contentLength` is ignored where `chunked` is true. */
  constructor(contentLength: number, chunked: boolean) {
    this.#remaining = chunked ? 0 : contentLength;
    this.#state = chunked ? "sizeFirst" : contentLength > 0 ? "fixed" : "done";
  }

  get done(): boolean {
    return this.#state === "done";
  }

  /** Bytes of the current chunk, or of a body of known length, that are still to come. */
  get remaining(): number {
    return this.#remaining;
  }

  /** Reads one piece from `buf[at, end)`, as long as it is of one sort, and sets `next`. Call it until need, done or malformed. */
  step(buf: Uint8Array, at: number, end: number): BodyStep {
    this.next = at;
    if (this.problem !== null) return "malformed";
    if (this.#state === "done") return "done";
    if (at >= end) return "need";
    if (this.#state === "fixed" || this.#state === "chunk") return this.#data(at, end);
    let position = at;
    while (position < end && !this.#atEdge()) {
      const problem = this.#frame(buf[position]!);
      if (problem !== null) {
        this.problem = problem;
        return "malformed";
      }
      position++;
    }
    this.next = position;
    return "framing";
  }

  #atEdge(): boolean {
    return this.#state === "chunk" || this.#state === "done";
  }

  #data(at: number, end: number): BodyStep {
    const count = Math.min(this.#remaining, end - at);
    this.#remaining -= count;
    this.next = at + count;
    if (this.#remaining === 0) this.#state = this.#state === "fixed" ? "done" : "chunkCR";
    return "data";
  }

  #frame(c: number): BodyProblem | null {
    switch (this.#state) {
      case "sizeFirst":
      case "size":
        return this.#size(c);
      case "sizeEnd":
        if (c !== LF) return "ChunkSize";
        this.#digits = 0;
        this.#state = this.#remaining === 0 ? "lineStart" : "chunk";
        return null;
      case "chunkCR":
        return this.#expect(c, CR, "chunkLF", "ChunkEnd");
      case "chunkLF":
        return this.#expect(c, LF, "sizeFirst", "ChunkEnd");
      case "lastLF":
        return this.#expect(c, LF, "done", "TrailerCharacter");
      default:
        return this.#trailer(c);
    }
  }

  #expect(c: number, wanted: number, next: State, problem: BodyProblem): BodyProblem | null {
    if (c !== wanted) return problem;
    this.#state = next;
    return null;
  }

  #size(c: number): BodyProblem | null {
    const digit = hexValue(c);
    if (digit >= 0) {
      if (++this.#digits > MAX_SIZE_DIGITS) return "ChunkSize";
      this.#remaining = this.#remaining * 16 + digit;
      this.#state = "size";
      return null;
    }
    if (this.#state === "sizeFirst") return "ChunkSize";
    if (c !== CR) return c === 0x3b || c === SP || c === HTAB ? "ChunkExtension" : "ChunkSize";
    this.#state = "sizeEnd";
    return null;
  }

  #trailer(c: number): BodyProblem | null {
    if (++this.#trailers > MAX_TRAILERS) return "TrailerTooLong";
    switch (this.#state) {
      case "lineStart":
        if (c === CR) {
          this.#state = "lastLF";
          return null;
        }
        this.#name = "";
        this.#state = "name";
        return this.#trailerName(c);
      case "name":
        return this.#trailerName(c);
      case "value":
        if (c === CR) this.#state = "valueLF";
        else if ((c < SP && c !== HTAB) || c === 0x7f) return "TrailerCharacter";
        return null;
      default:
        return this.#expect(c, LF, "lineStart", "TrailerCharacter");
    }
  }

  /** A trailer that frames or routes would change the message for a server that merges trailers into the head. */
  #trailerName(c: number): BodyProblem | null {
    if (TOKEN[c] === 1) {
      if (this.#name.length <= LONGEST_FORBIDDEN) this.#name += String.fromCharCode(c).toLowerCase();
      return null;
    }
    if (c !== COLON || this.#name === "") return "TrailerName";
    if (FORBIDDEN.includes(this.#name)) return "ForbiddenTrailer";
    this.#state = "value";
    return null;
  }
}
