import {
  close,
  EAGAIN,
  EINTR,
  errno,
  eventfd,
  poll,
  read,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SystemError,
  write,
} from "./libc.ts";

const POLLIN = 0x001;
const POLLERR = 0x008;
const POLLHUP = 0x010;
const POLLNVAL = 0x020;
/** sizeof(struct pollfd) */
const ENTRY = 8;

/** Waits on a fixed list of descriptors through poll(2). Reusable; allocates nothing per wait. */
export class Poller {
  private readonly entries: Uint8Array;
  private readonly view: DataView;
  private readonly count: number;

  constructor(descriptors: readonly number[]) {
    this.count = descriptors.length;
    this.entries = new Uint8Array(Math.max(1, this.count) * ENTRY);
    this.view = new DataView(this.entries.buffer);
    for (const [index, fd] of descriptors.entries()) {
      this.view.setInt32(index * ENTRY, fd, true);
      this.view.setInt16(index * ENTRY + 4, POLLIN, true);
    }
  }

  /**
   * Blocks the thread for at most `timeoutMs` (-1: for ever; 0: not at all). Returns a bit mask: bit i is set when
   * descriptor i can be read or is in error. 0 on time-out and on a signal.
   */
  wait(timeoutMs: number): number {
    const ready = poll(this.entries, this.count, timeoutMs);
    if (ready <= 0) {
      if (ready < 0 && errno() !== EINTR) throw new SystemError("poll", errno());
      return 0;
    }
    let mask = 0;
    for (let index = 0; index < this.count; index++) {
      const events = this.view.getInt16(index * ENTRY + 6, true);
      if ((events & POLLNVAL) !== 0) throw new SystemError("poll", 9, "a descriptor was closed");
      if ((events & (POLLIN | POLLERR | POLLHUP)) !== 0) mask |= 1 << index;
    }
    return mask;
  }
}

const EVENT = new Uint8Array(new BigUint64Array([1n]).buffer);

/**
 * Wakes a thread that waits in poll(2). The number may be handed to a worker of the same process, which makes its own
 * `EventFd` of it; only the one that opened it closes it.
 */
export class EventFd {
  readonly fd: number;
  private readonly value = new Uint8Array(8);

  constructor(fd?: number) {
    this.fd = fd ?? eventfd(0, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (this.fd < 0) throw new SystemError("eventfd", errno());
  }

  /** Any number of signals before the next `drain` are one. */
  signal(): void {
    if (write(this.fd, EVENT, 8) < 0 && errno() !== EAGAIN) throw new SystemError("write", errno(), "eventfd");
  }

  /** True when somebody had signalled since the last drain. */
  drain(): boolean {
    return read(this.fd, this.value, 8) === 8;
  }

  close(): void {
    close(this.fd);
  }
}
