import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import koffi from "koffi";
import { close, SOL_SOCKET, setIntOption } from "../../src/kernel/libc.ts";

const PIDFD_OPEN = 434;
const PIDFD_GETFD = 438;
const SO_RCVBUF = 8;
const NETFILTER = "12";
/** Bit of conntrack's group of endings in the column of groups. */
const GROUP_OF_ENDINGS = 1 << 2;

const syscall = koffi.load(null).func("long syscall(long number, int a, int b, int c)") as (
  number: number,
  a: number,
  b: number,
  c: number,
) => number;

/**
 * Leaves the socket on which a process hears of conntrack's endings as little room as the kernel lets it have: a message or two. From
 * outside: the socket is borrowed (pidfd_getfd(2)). @throws Error when it is not found
 */
export function shrinkEndingsBuffer(pid: number): void {
  const rows = readFileSync(`/proc/${pid}/net/netlink`, "latin1").split("\n");
  const inodes = rows.flatMap((line) => {
    const [, protocol, , groups = "0", , , , , , inode] = line.trim().split(/ +/);
    return protocol === NETFILTER && (Number.parseInt(groups, 16) & GROUP_OF_ENDINGS) !== 0 ? [inode] : [];
  });
  const folder = `/proc/${pid}/fd`;
  const fd = readdirSync(folder).find((name) => {
    const target = readlinkSync(`${folder}/${name}`);
    return inodes.some((inode) => target === `socket:[${inode}]`);
  });
  if (fd === undefined) throw new Error(`process ${pid} does not listen to conntrack's endings`);
  const process = syscall(PIDFD_OPEN, pid, 0, 0);
  const borrowed = syscall(PIDFD_GETFD, process, Number(fd), 0);
  if (borrowed < 0) throw new Error(`the socket ${fd} of ${pid} cannot be borrowed`);
  setIntOption(borrowed, SOL_SOCKET, SO_RCVBUF, 1);
  close(borrowed);
  close(process);
}
