import { closeSync, openSync, readSync } from "node:fs";

/** Where the kernel describes its types (BTF): with the queue built in, or as a module. */
const DESCRIPTIONS = ["/sys/kernel/btf/nfnetlink_queue", "/sys/kernel/btf/vmlinux"];
/** Member of `struct nfqnl_instance` (net/netfilter/nfnetlink_queue.c). */
const MEMBER = "nfqnl_packet_map";
const PIECE = 64 * 1024;

/**
 * Whether the kernel finds a packet that waits in a queue by a hash table of that queue, which grows and shrinks with what is in it. Older ones
 * walk a list, from the packet that has waited for longest. False too where it does not say.
 */
export function queueHasTable(paths: readonly string[] = DESCRIPTIONS): boolean {
  return paths.some((path) => {
    try {
      return holds(path, MEMBER);
    } catch {
      return false;
    }
  });
}

/** Piece by piece: the file has some megabytes, and the agent has little memory. */
function holds(path: string, text: string): boolean {
  const buffer = Buffer.alloc(text.length + PIECE);
  const file = openSync(path, "r");
  try {
    for (let kept = 0; ; ) {
      const read = readSync(file, buffer, kept, PIECE, null);
      if (read === 0) return false;
      const end = kept + read;
      if (buffer.subarray(0, end).includes(text, 0, "latin1")) return true;
      kept = Math.min(end, text.length - 1);
      buffer.copyWithin(0, end - kept, end);
    }
  } finally {
    closeSync(file);
  }
}
