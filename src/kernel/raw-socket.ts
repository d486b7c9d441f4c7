import {
  close,
  errno,
  MSG_DONTWAIT,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_SOCKET,
  SystemError,
  sendto,
  setIntOption,
  socket,
} from "./libc.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_RAW = 3;
const IPPROTO_RAW = 255;
const SO_SNDBUFFORCE = 32;
const SO_MARK = 36;
const SOL_IPV6 = 41;
const IPV6_HDRINCL = 36;
const IPV6_FREEBIND = 78;
const SOL_IP = 0;
const IP_FREEBIND = 15;
const SEND_BUFFER = 4 * 1024 * 1024;

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;

/**
 * Sends whole IP packets of either family, from any source address, routed like the node's own. The kernel fills
 * nothing in but the IPv4 header checksum and an identification of 0. The packets leave through the output hook with
 * the given packet mark, which the ruleset knows as `injected`.
 */
export class RawSender {
  private readonly ipv4: number;
  private readonly ipv6: number;
  // struct sockaddr_in, struct sockaddr_in6
  private readonly address4 = new Uint8Array(16);
  private readonly address6 = new Uint8Array(28);
  sent = 0;
  failed = 0;
  /** Error number of the last failure. */
  lastError = 0;

  /** Throws a SystemError without CAP_NET_RAW and CAP_NET_ADMIN. IPv6 may be switched off in the kernel: then only IPv4 is sent. */
  constructor(mark: number) {
    this.ipv4 = openRaw(AF_INET, mark);
    setIntOption(this.ipv4, SOL_IP, IP_FREEBIND, 1);
    this.ipv6 = openRawIPv6(mark);
    this.address4[0] = AF_INET;
    this.address6[0] = AF_INET6;
  }

  /** False when it was not sent (malformed, no route, buffer full); counted. Never blocks. */
  send(packet: Uint8Array): boolean {
    const version = packet.length === 0 ? 0 : packet[0]! >>> 4;
    let result = -1;
    if (version === 4 && packet.length >= IPV4_HEADER) {
      this.address4.set(packet.subarray(16, 20), 4);
      result = Number(sendto(this.ipv4, packet, packet.length, MSG_DONTWAIT, this.address4, this.address4.length));
    } else if (version === 6 && packet.length >= IPV6_HEADER && this.ipv6 >= 0) {
      this.address6.set(packet.subarray(24, 40), 8);
      result = Number(sendto(this.ipv6, packet, packet.length, MSG_DONTWAIT, this.address6, this.address6.length));
    } else {
      this.failed++;
      this.lastError = 22;
      return false;
    }
    if (result === packet.length) {
      this.sent++;
      return true;
    }
    this.lastError = errno();
    this.failed++;
    return false;
  }

  close(): void {
    close(this.ipv4);
    if (this.ipv6 >= 0) close(this.ipv6);
  }
}

function openRaw(family: number, mark: number): number {
  const fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
  if (fd < 0) throw new SystemError("socket", errno(), "raw; CAP_NET_RAW is needed");
  if (!setIntOption(fd, SOL_SOCKET, SO_MARK, mark | 0)) {
    const number = errno();
    close(fd);
    throw new SystemError("setsockopt", number, "SO_MARK; CAP_NET_ADMIN is needed");
  }
  setIntOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER);
  return fd;
}

function openRawIPv6(mark: number): number {
  try {
    const fd = openRaw(AF_INET6, mark);
    setIntOption(fd, SOL_IPV6, IPV6_HDRINCL, 1);
    setIntOption(fd, SOL_IPV6, IPV6_FREEBIND, 1);
    return fd;
  } catch (error) {
    const notThere = error instanceof SystemError && error.errno === 97;
    if (notThere) return -1;
    throw error;
  }
}
