import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { type ConntrackEntry, familyOf, readConntrackEntry, type Tuple, writeTuple } from "./conntrack-entry.ts";
import { ENOENT, SystemError } from "./libc.ts";
import { NetlinkSocket } from "./netlink.ts";
import { type Message, MessageWriter, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, netfilterType } from "./netlink-message.ts";

const SUBSYSTEM = 1;
const MESSAGE_NEW = 0;
const MESSAGE_GET = 1;
const MESSAGE_DELETE = 2;
const CTA_MARK = 8;
const CTA_MARK_MASK = 21;
const GROUP_DESTROY = 3;
const EVENT_BUFFER = 16 * 1024 * 1024;
/** Datagrams read per `drain`, so that a flood of endings cannot hold the reader for ever. */
const DRAIN = 1024;

/** Requests to the connection tracking of the namespace of the calling thread. Each call blocks until the kernel has answered. */
export class Conntrack {
  private readonly socket = new NetlinkSocket();
  private readonly writer = new MessageWriter(1024);

  /** Every entry of one family, handed over one by one. Throws a SystemError. */
  dump(family: "ipv4" | "ipv6", each: (entry: ConntrackEntry) => void): void {
    const sequence = this.beginDump(family);
    this.socket.request("dump conntrack", this.writer.end().message(), sequence, entriesTo(each));
  }

  /**
   * The same, on a socket of its own: some entries, then a moment for others, and so on to the end of a table that may hold a million. Throws a
   * SystemError.
   */
  *dumpInPieces(family: "ipv4" | "ipv6", each: (entry: ConntrackEntry) => void): Generator<void> {
    const socket = new NetlinkSocket();
    try {
      const sequence = this.beginDump(family);
      yield* socket.pieces("dump conntrack", this.writer.end().message(), sequence, entriesTo(each));
    } finally {
      socket.close();
    }
  }

  /** The entry that has this tuple in that direction; null where there is none. */
  get(tuple: Tuple, direction: "original" | "reply" = "original"): ConntrackEntry | null {
    const sequence = this.begin(MESSAGE_GET, NLM_F_REQUEST | NLM_F_ACK, familyOf(tuple));
    writeTuple(this.writer, direction, tuple);
    let found: ConntrackEntry | null = null;
    const there = this.ask("get conntrack entry", sequence, (data, message) => {
      found = readConntrackEntry(data, message.start, message.end);
    });
    return there ? found : null;
  }

  /**
   * Sets the bits of `mask` in the mark of the entry that has this tuple in that direction, the others stay. Never
   * makes an entry: false where there is none.
   */
  setMark(tuple: Tuple, mark: number, mask: number, direction: "original" | "reply" = "original"): boolean {
    const sequence = this.begin(MESSAGE_NEW, NLM_F_REQUEST | NLM_F_ACK, familyOf(tuple));
    writeTuple(this.writer, direction, tuple);
    this.writer.u32(CTA_MARK, mark & mask).u32(CTA_MARK_MASK, mask);
    return this.ask("mark conntrack entry", sequence);
  }

  private beginDump(family: "ipv4" | "ipv6"): number {
    return this.begin(MESSAGE_GET, NLM_F_REQUEST | NLM_F_DUMP, family === "ipv4" ? 2 : 10);
  }

  private begin(command: number, flags: number, family: number): number {
    const sequence = this.socket.nextSequence();
    this.writer.clear();
    this.writer.begin(netfilterType(SUBSYSTEM, command), flags, sequence, family, 0);
    return sequence;
  }

  private ask(what: string, sequence: number, each?: Parameters<NetlinkSocket["request"]>[3]): boolean {
    try {
      this.socket.request(what, this.writer.end().message(), sequence, each);
      return true;
    } catch (error) {
      if (error instanceof SystemError && error.errno === ENOENT) return false;
      throw error;
    }
  }

  close(): void {
    this.socket.close();
  }
}

/** What reads an answer and hands over its entries. */
function entriesTo(each: (entry: ConntrackEntry) => void): (data: Uint8Array, message: Message) => void {
  return (data, message) => {
    const entry = readConntrackEntry(data, message.start, message.end);
    if (entry !== null) each(entry);
  };
}

/** The endings of flows, as the kernel reports them. Wait for `fd` in a Poller, then `drain`. */
export class ConntrackEndings {
  private readonly socket = new NetlinkSocket();
  readonly fd: number;
  /** Of the overruns, those after which the socket was found empty: until then the kernel drops more and does not say so. */
  overrunsOver = 0;
  /** The last `drain` left nothing. */
  drained = true;

  constructor() {
    this.fd = this.socket.fd;
    this.socket.setReceiveBuffer(EVENT_BUFFER);
    this.socket.join(GROUP_DESTROY);
  }

  /** Times that endings were lost because this reader was too slow. */
  get overruns(): number {
    return this.socket.overruns;
  }

  /** Hands over what waits, at most about a thousand at a time. Returns their number. */
  drain(each: (entry: ConntrackEntry) => void): number {
    let count = 0;
    this.drained = false;
    for (let round = 0; round < DRAIN; round++) {
      const before = this.socket.overruns;
      const some = this.socket.receive((data, message) => {
        if (message.type !== netfilterType(SUBSYSTEM, MESSAGE_DELETE)) return true;
        const entry = readConntrackEntry(data, message.start, message.end);
        if (entry !== null) {
          each(entry);
          count++;
        }
        return true;
      });
      if (some || this.socket.overruns !== before) continue;
      this.overrunsOver = before;
      this.drained = true;
      break;
    }
    return count;
  }

  close(): void {
    this.socket.close();
  }
}

const SYSCTL = "/proc/sys/net/netfilter/";

/** Whether conntrack of this namespace takes TCP segments out of the window for valid ones; also where that cannot be read. */
export function takesLooseSegments(): boolean {
  try {
    return readFileSync(`${SYSCTL}nf_conntrack_tcp_be_liberal`, "latin1").trim() !== "0";
  } catch {
    return true;
  }
}

/**
 * Has conntrack count packets and bytes and note times, for entries made from now on. Returns the names of the
 * settings that could not be switched on; without them flow records carry no sizes.
 */
export function enableAccounting(): string[] {
  const missing: string[] = [];
  for (const name of ["nf_conntrack_acct", "nf_conntrack_timestamp"]) {
    try {
      if (!existsSync(SYSCTL + name)) throw new Error("absent");
      if (readFileSync(SYSCTL + name, "latin1").trim() !== "1") writeFileSync(SYSCTL + name, "1");
    } catch {
      missing.push(`net.netfilter.${name}`);
    }
  }
  return missing;
}
