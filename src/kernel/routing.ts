import { type Address, addressFromBytes, addressToBytes, isIPv4 } from "../net/address.ts";
import { SystemError } from "./libc.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "./netlink.ts";
import {
  AttributeReader,
  type Message,
  MessageWriter,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  readHostU32,
  readHostU64,
} from "./netlink-message.ts";

/** Where the kernel would send a packet now, policy routing included; rtnetlink(7), linux/rtnetlink.h. */
export interface Route {
  /** `local`: the address is the node's own. `none`: unreachable, prohibited, or nothing leads there. */
  readonly kind: "unicast" | "local" | "none";
  /** Index of the interface it leaves by; 0: none. */
  readonly link: number;
  readonly gateway: Address | null;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  /** `veth`, `bridge`, `macvlan` …; empty: hardware, or what passes for it. */
  readonly kind: string;
  /** Index of the bridge or bond that it is a port of; 0: of none. */
  readonly controller: number;
}

/** A link, and what has come in by it: of a pod's link, what the pod sent, whatever became of it afterwards. */
export interface CountedLink extends Link {
  /** Index of its other end; 0: that is in another namespace, or it has none. */
  readonly peer: number;
  /** Packets since it was made. */
  readonly received: number;
}

const GET_LINK = 18;
const NEW_LINK = 16;
const GET_ROUTE = 26;
const NEW_ROUTE = 24;

const ROUTE = { destination: 1, link: 4, gateway: 5, via: 18 } as const;
const ROUTE_UNICAST = 1;
const ROUTE_LOCAL = 2;
const ROUTE_HEADER = 12;
const AF_INET = 2;
const AF_INET6 = 10;

const LINK = { name: 3, peer: 5, controller: 10, info: 18, statistics: 23, mask: 29, peerNamespace: 37 } as const;
const LINK_INFO_KIND = 1;
const LINK_HEADER = 16;
/** RTEXT_FILTER_SKIP_STATS: without those of IPv6, which are three quarters of the answer. */
const WITHOUT_IPV6_STATISTICS = Uint8Array.of(8, 0, 0, 0);

const ENODEV = 19;
/** What the kernel answers for blackhole, prohibit, unreachable, and where nothing leads: EINVAL, EACCES, ENETUNREACH, EHOSTUNREACH. */
const NO_ROUTE: readonly number[] = [22, 13, 101, 113];
const NOWHERE: Route = { kind: "none", link: 0, gateway: null };
const RECEIVE_BYTES = 64 * 1024;

/** Routes and interfaces of the network namespace of the calling thread, asked for one by one: some microseconds each. */
export class Routing {
  readonly #socket = new NetlinkSocket(RECEIVE_BYTES, NETLINK_ROUTE);
  readonly #writer = new MessageWriter(256);

  /** The way to an address, for a packet of the node itself. @throws SystemError where the kernel does not answer */
  routeTo(address: Address): Route {
    const bytes = addressToBytes(address);
    const header = new Uint8Array(ROUTE_HEADER);
    header[0] = isIPv4(address) ? AF_INET : AF_INET6;
    header[1] = bytes.length * 8;
    let route = NOWHERE;
    try {
      this.#ask(
        "find route",
        GET_ROUTE,
        NLM_F_ACK,
        header,
        (writer) => writer.data(ROUTE.destination, bytes),
        (data, message) => {
          if (message.type === NEW_ROUTE) route = readRoute(data, message.start, message.end);
        },
      );
    } catch (error) {
      if (!(error instanceof SystemError) || !NO_ROUTE.includes(error.errno)) throw error;
    }
    return route;
  }

  /** Null: there is none of this index. @throws SystemError where the kernel does not answer */
  link(index: number): Link | null {
    const found: CountedLink[] = [];
    try {
      this.#askLinks(NLM_F_ACK, index, () => undefined, found);
    } catch (error) {
      if (!(error instanceof SystemError) || error.errno !== ENODEV) throw error;
    }
    return found[0] ?? null;
  }

  /** The ports of a bridge. @throws SystemError where the kernel does not answer */
  ports(bridge: number): readonly Link[] {
    const found: CountedLink[] = [];
    // Kernels without the filter tell of all interfaces.
    this.#askLinks(NLM_F_DUMP, 0, (writer) => writer.data(LINK.controller, hostU32Bytes(bridge)), found);
    return found.filter(({ controller }) => controller === bridge);
  }

  /** All links of the namespace; a kilobyte each. @throws SystemError where the kernel does not answer */
  counted(): readonly CountedLink[] {
    const found: CountedLink[] = [];
    this.#askLinks(NLM_F_DUMP, 0, () => undefined, found);
    return found;
  }

  close(): void {
    this.#socket.close();
  }

  #askLinks(flags: number, index: number, more: (writer: MessageWriter) => void, found: CountedLink[]): void {
    const header = new Uint8Array(LINK_HEADER);
    header.set(hostU32Bytes(index), 4);
    this.#ask(
      "read interfaces",
      GET_LINK,
      flags,
      header,
      (writer) => {
        writer.data(LINK.mask, WITHOUT_IPV6_STATISTICS);
        more(writer);
      },
      (data, message) => {
        if (message.type === NEW_LINK) found.push(readLink(data, message.start, message.end));
      },
    );
  }

  #ask(
    what: string,
    type: number,
    flags: number,
    header: Uint8Array,
    body: (writer: MessageWriter) => void,
    each: (data: Uint8Array, message: Message) => void,
  ): void {
    const sequence = this.#socket.nextSequence();
    this.#writer.clear();
    this.#writer.beginWith(type, NLM_F_REQUEST | flags, sequence, header);
    body(this.#writer);
    this.#writer.end();
    this.#socket.request(what, this.#writer.message(), sequence, each);
  }
}

function hostU32Bytes(value: number): Uint8Array {
  return Uint8Array.of(value, value >> 8, value >> 16, value >> 24);
}

/** Reads what follows the header of an RTM_NEWROUTE: `struct rtmsg` and its attributes. */
export function readRoute(bytes: Uint8Array, start: number, end: number): Route {
  if (start + ROUTE_HEADER > end) return NOWHERE;
  const type = bytes[start + 7];
  if (type !== ROUTE_UNICAST && type !== ROUTE_LOCAL) return NOWHERE;
  const length = bytes[start] === AF_INET ? 4 : 16;
  let link = 0;
  let gateway: Address | null = null;
  const reader = new AttributeReader(bytes, start + ROUTE_HEADER, end);
  while (reader.next()) {
    if (reader.type === ROUTE.link) link = readHostU32(bytes, reader.start, reader.end);
    else if (reader.type === ROUTE.gateway && reader.end - reader.start === length)
      gateway = addressFromBytes(bytes, reader.start, length);
    else if (reader.type === ROUTE.via && reader.end - reader.start === 18)
      gateway = addressFromBytes(bytes, reader.start + 2, 16);
  }
  return { kind: type === ROUTE_LOCAL ? "local" : "unicast", link, gateway };
}

/** Reads what follows the header of an RTM_NEWLINK: `struct ifinfomsg` and its attributes. */
export function readLink(bytes: Uint8Array, start: number, end: number): CountedLink {
  let name = "";
  let kind = "";
  let controller = 0;
  let peer = 0;
  let peerIsHere = true;
  let received = 0;
  const reader = new AttributeReader(bytes, start + LINK_HEADER, end);
  while (reader.next()) {
    if (reader.type === LINK.name) name = textOf(bytes, reader.start, reader.end);
    else if (reader.type === LINK.peer) peer = readHostU32(bytes, reader.start, reader.end);
    else if (reader.type === LINK.peerNamespace) peerIsHere = false;
    // `struct rtnl_link_stats64` begins with the packets received.
    else if (reader.type === LINK.statistics) received = readHostU64(bytes, reader.start, reader.end);
    else if (reader.type === LINK.controller) controller = readHostU32(bytes, reader.start, reader.end);
    else if (reader.type === LINK.info) {
      const info = new AttributeReader(bytes, reader.start, reader.end);
      while (info.next()) if (info.type === LINK_INFO_KIND) kind = textOf(bytes, info.start, info.end);
    }
  }
  const index = readHostU32(bytes, start + 4, end);
  return { index, name, kind, controller, peer: peerIsHere ? peer : 0, received };
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  const stop = bytes.subarray(start, end).indexOf(0);
  return Buffer.from(bytes.subarray(start, stop < 0 ? end : start + stop)).toString("latin1");
}
