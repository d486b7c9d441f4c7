import { close, poll, recv, SOL_SOCKET, setIntOption, socket } from "../../../src/kernel/libc.ts";
import { RawSender } from "../../../src/kernel/raw-socket.ts";
import { newPacket, type Packet, parsePacket } from "../../../src/packet/ip.ts";

const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const NONBLOCK = 0x800;
/** ETH_P_ALL in network order. */
const EVERYTHING = 0x0300;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const SO_RCVBUFFORCE = 33;
const RECEIVE_BUFFER = 64 * 1024 * 1024;

/** The attacker's own segments bear this mark: the pod's kernel knows nothing of its connections, and its resets are dropped. */
export const MARK = 0x77;

/** Raw packets out, everything that passes the interface in. Reading also shows what was sent. */
export class Wire {
  readonly #sender = new RawSender(MARK);
  readonly #fd = socket(AF_PACKET, SOCK_DGRAM | NONBLOCK, EVERYTHING);
  readonly #buffer = new Uint8Array(1 << 17);
  readonly #ready = new Uint8Array(8);
  readonly packet: Packet = newPacket();

  constructor() {
    if (this.#fd < 0) throw new Error("no packet socket: CAP_NET_RAW is needed");
    setIntOption(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
    new DataView(this.#ready.buffer).setInt32(0, this.#fd, true);
    this.#ready[4] = 1;
  }

  send(packet: Uint8Array): boolean {
    return this.#sender.send(packet);
  }

  /** Reads what is there; `take` sees each IP packet, parsed into `packet` where it can be. */
  drain(take: (bytes: Uint8Array, readable: boolean) => void): void {
    for (;;) {
      const count = Number(recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT | MSG_TRUNC));
      if (count < 0) return;
      const bytes = this.#buffer.slice(0, count);
      take(bytes, parsePacket(bytes, 0, count, this.packet));
    }
  }

  wait(ms: number): void {
    poll(this.#ready, 1, ms);
  }

  close(): void {
    close(this.#fd);
    this.#sender.close();
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
