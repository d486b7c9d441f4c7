import {
  bind as bindSocket,
  close,
  EAGAIN,
  EINTR,
  ENOBUFS,
  errno,
  errnoName,
  MSG_DONTWAIT,
  recv,
  SOCK_CLOEXEC,
  SOL_SOCKET,
  SystemError,
  sendto,
  setIntOption,
  setsockopt,
  socket,
} from "./libc.ts";
import { type Message, NLMSG_DONE, NLMSG_ERROR, readAcknowledgement, readMessages } from "./netlink-message.ts";
import { Poller } from "./poller.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
/** Families of netlink. */
export const NETLINK_ROUTE = 0;
const NETLINK_NETFILTER = 12;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;

const SILENCE_MS = 5_000;
const RECEIVE_BYTES = 256 * 1024;

/** What to throw where `what` (an NFQUEUE, an NFLOG group) could not be bound. */
export function bindError(what: string, { errno }: SystemError): Error {
  const held = errno === 16 || errno === 1;
  const hint = held ? "is it held by another process, or CAP_NET_ADMIN missing?" : "";
  return new Error(`cannot bind ${what}: ${errnoName(errno)} ${hint}`.trim());
}

/** One netlink socket, of netfilter unless another family is asked for. Opened in the network namespace of the calling thread. */
export class NetlinkSocket {
  readonly fd: number;
  private readonly kernel = new Uint8Array(12);
  private readonly received: Uint8Array;
  private readonly poller: Poller;
  private sequence = 1;
  /** Times that the kernel said it had to drop messages for us. */
  overruns = 0;

  constructor(receiveBytes = RECEIVE_BYTES, family = NETLINK_NETFILTER) {
    this.received = new Uint8Array(receiveBytes);
    this.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
    if (this.fd < 0) throw new SystemError("socket", errno(), "netlink");
    new DataView(this.kernel.buffer).setUint16(0, AF_NETLINK, true);
    if (bindSocket(this.fd, this.kernel, this.kernel.length) !== 0) {
      const number = errno();
      close(this.fd);
      throw new SystemError("bind", number, "netlink");
    }
    // Errors come back without the request, which may be large, but with the kernel's own words.
    setIntOption(this.fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
    setIntOption(this.fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    this.poller = new Poller([this.fd]);
  }

  /** Room for `bytes` of waiting messages; beyond rmem_max where privilege allows, else up to it. */
  setReceiveBuffer(bytes: number): void {
    if (!setIntOption(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes)) setIntOption(this.fd, SOL_SOCKET, SO_RCVBUF, bytes);
  }

  setOption(name: number, value: number): boolean {
    return setIntOption(this.fd, SOL_NETLINK, name, value);
  }

  join(group: number): void {
    const value = new Uint8Array(new Uint32Array([group]).buffer);
    if (setsockopt(this.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, value, 4) !== 0) {
      throw new SystemError("setsockopt", errno(), `netlink group ${group}`);
    }
  }

  nextSequence(): number {
    this.sequence = (this.sequence % 0x7fffffff) + 1;
    return this.sequence;
  }

  /** Sends the bytes as they are. Returns 0, or the error number. */
  send(bytes: Uint8Array, length: number): number {
    for (;;) {
      if (sendto(this.fd, bytes, length, 0, this.kernel, this.kernel.length) >= 0) return 0;
      const number = errno();
      if (number !== EINTR) return number;
    }
  }

  /**
   * Sends one request that carries NLM_F_ACK or NLM_F_DUMP and waits for its end. Every other message of the answer goes
   * to `each`. Throws a SystemError that carries the kernel's words, or when the kernel says nothing for five seconds: a full
   * table takes longer than that on a busy machine, but not between two pieces.
   */
  request(
    what: string,
    bytes: Uint8Array,
    sequence: number,
    each?: (data: Uint8Array, message: Message) => void,
    single = false,
  ): void {
    const number = this.send(bytes, bytes.length);
    if (number !== 0) throw new SystemError(what, number);
    for (let heard = performance.now(); ; ) {
      const left = Math.ceil(heard + SILENCE_MS - performance.now());
      if (this.poller.wait(Math.max(0, left)) === 0) {
        if (left <= 0) throw new SystemError(what, 110, "the kernel did not answer within 5 s");
        continue;
      }
      let ours = false;
      const ended = this.receive((data, message) => {
        if (message.sequence !== sequence) return false;
        ours = true;
        return this.take(what, data, message, each, single);
      });
      if (ended) return;
      if (ours) heard = performance.now();
    }
  }

  /** Like `request`, but yields after each datagram of the answer, and where none waits. */
  *pieces(
    what: string,
    bytes: Uint8Array,
    sequence: number,
    each: (data: Uint8Array, message: Message) => void,
  ): Generator<void> {
    const number = this.send(bytes, bytes.length);
    if (number !== 0) throw new SystemError(what, number);
    for (let heard = performance.now(); ; ) {
      const before = heard;
      const ended = this.receive((data, message) => {
        if (message.sequence !== sequence) return false;
        heard = performance.now();
        return this.take(what, data, message, each, false);
      });
      if (ended) return;
      if (heard === before && performance.now() - heard > SILENCE_MS)
        throw new SystemError(what, 110, "the kernel did not answer within 5 s");
      yield;
    }
  }

  /** True at the end of an answer. */
  private take(
    what: string,
    data: Uint8Array,
    message: Message,
    each: ((data: Uint8Array, message: Message) => void) | undefined,
    single: boolean,
  ): boolean {
    if (message.type === NLMSG_DONE) return true;
    if (message.type === NLMSG_ERROR) {
      const answer = readAcknowledgement(data, message);
      if (answer.errno !== 0) throw new SystemError(what, answer.errno, answer.text);
      return true;
    }
    each?.(data, message);
    return single;
  }

  /**
   * Reads one datagram, if one waits, and hands each of its messages to `each`; the bytes are borrowed until the next
   * read. Returns true when `each` did so for one of them; false also where nothing waits.
   */
  receive(each: (data: Uint8Array, message: Message) => boolean): boolean {
    const length = recv(this.fd, this.received, this.received.length, MSG_DONTWAIT);
    if (length < 0) {
      const number = errno();
      if (number === ENOBUFS) this.overruns++;
      else if (number !== EAGAIN && number !== EINTR) throw new SystemError("recv", number, "netlink");
      return false;
    }
    let done = false;
    for (const message of readMessages(this.received, Number(length))) {
      if (each(this.received, message)) done = true;
    }
    return done;
  }

  close(): void {
    close(this.fd);
  }
}
