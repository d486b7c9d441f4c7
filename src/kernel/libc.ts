import koffi from "koffi";

/**
 * The few calls of libc that Node does not offer, by their C names. All sizes are bytes, all flags those of Linux on
 * 64-bit machines. Buffers go by address, without a copy. A result of -1 means: ask `errno()` before any other call.
 *
 * The calls run in the calling thread and block it if the kernel blocks: descriptors used here are non-blocking, and
 * waiting is the business of poll().
 */

// The running binary itself: its libc is there, glibc or musl, whatever its file is called.
const process_ = koffi.load(null);

export const socket = process_.func("int socket(int domain, int type, int protocol)") as (
  domain: number,
  type: number,
  protocol: number,
) => number;
export const bind = process_.func("int bind(int fd, const void *address, uint32_t length)") as (
  fd: number,
  address: Uint8Array,
  length: number,
) => number;
export const getsockname = process_.func("int getsockname(int fd, void *address, void *length)") as (
  fd: number,
  address: Uint8Array,
  length: Uint32Array,
) => number;
export const setsockopt = process_.func(
  "int setsockopt(int fd, int level, int name, const void *value, uint32_t length)",
) as (fd: number, level: number, name: number, value: Uint8Array, length: number) => number;
export const send = process_.func("int64_t send(int fd, const void *data, size_t length, int flags)") as (
  fd: number,
  data: Uint8Array,
  length: number,
  flags: number,
) => number;
export const sendto = process_.func(
  "int64_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)",
) as (
  fd: number,
  data: Uint8Array,
  length: number,
  flags: number,
  address: Uint8Array,
  addressLength: number,
) => number;
export const recv = process_.func("int64_t recv(int fd, void *data, size_t length, int flags)") as (
  fd: number,
  data: Uint8Array,
  length: number,
  flags: number,
) => number;
export const recvmmsg = process_.func(
  "int recvmmsg(int fd, void *messages, uint32_t count, int flags, void *timeout)",
) as (fd: number, messages: Uint8Array, count: number, flags: number, timeout: null) => number;
export const poll = process_.func("int poll(void *descriptors, uint64_t count, int timeout)") as (
  descriptors: Uint8Array,
  count: number,
  timeout: number,
) => number;
export const eventfd = process_.func("int eventfd(uint32_t value, int flags)") as (
  value: number,
  flags: number,
) => number;
export const read = process_.func("int64_t read(int fd, void *data, size_t length)") as (
  fd: number,
  data: Uint8Array,
  length: number,
) => number;
export const write = process_.func("int64_t write(int fd, const void *data, size_t length)") as (
  fd: number,
  data: Uint8Array,
  length: number,
) => number;
export const close = process_.func("int close(int fd)") as (fd: number) => number;
export const dup2 = process_.func("int dup2(int from, int to)") as (from: number, to: number) => number;

const trim = optional("int malloc_trim(size_t keep)") as ((keep: number) => number) | null;

/** Gives freed memory of all threads back to the kernel, where the libc can (glibc; musl does it by itself). Under a millisecond. */
export function trimMemory(): void {
  trim?.(0);
}

function optional(declaration: string): unknown {
  try {
    return process_.func(declaration);
  } catch {
    return null;
  }
}

/** The error number of the last call of this thread. */
export function errno(): number {
  return koffi.errno();
}

/**
 * The address of a view's first byte. Whoever writes it into memory that the kernel reads must keep the view
 * referenced from an object that lives as long: V8 collects a buffer that only the kernel still knows.
 */
export function addressOf(view: ArrayBufferView): bigint {
  return koffi.address(view);
}

const NAMES = new Map<number, string>(Object.entries(koffi.os.errno).map(([name, value]) => [value, name]));

/** `ENOBUFS` for 105; the number itself where it has no name. */
export function errnoName(value: number): string {
  return NAMES.get(value) ?? String(value);
}

/** A system call that failed, with its name and error number. */
export class SystemError extends Error {
  readonly call: string;
  readonly errno: number;
  constructor(call: string, number: number, detail = "") {
    super(`\`${call}\` failed: ${errnoName(number)}${detail === "" ? "" : ` (${detail})`}`);
    this.name = "SystemError";
    this.call = call;
    this.errno = number;
  }
}

export const EINTR = 4;
export const ENOENT = 2;
export const EAGAIN = 11;
export const ENOBUFS = 105;

export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const SOCK_CLOEXEC = 0x80000;
export const SOCK_NONBLOCK = 0x800;
export const SOL_SOCKET = 1;

/** Sets an option whose value is an int. Returns false where the kernel refuses. */
export function setIntOption(fd: number, level: number, name: number, value: number): boolean {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return setsockopt(fd, level, name, bytes, 4) === 0;
}

/** Whole-file lock, let go by the kernel when the last descriptor of this opening is closed, also by a crash. */
export const flock = process_.func("int flock(int fd, int operation)") as (fd: number, operation: number) => number;
export const LOCK_EX_NB = 2 | 4;

const prctl = process_.func("int prctl(int option, uint64_t a, uint64_t b, uint64_t c, uint64_t d)") as (
  option: number,
  a: number,
  b: number,
  c: number,
  d: number,
) => number;
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/** From now on the kernel kills this process when the thread that started it ends. False where it has ended already. */
export function dieWithParent(parent: number): boolean {
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  return process.ppid === parent;
}
