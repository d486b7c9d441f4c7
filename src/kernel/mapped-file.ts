import { closeSync, constants, fstatSync, ftruncateSync, openSync, writeSync } from "node:fs";
import koffi from "koffi";
import { errno, SystemError } from "./libc.ts";

const mmap = koffi
  .load(null)
  .func("void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)");
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
const PIECE = 1 << 20;

/**
 * Maps a file of `size` bytes, made of zeros if it is not there or has another size. What is written to the memory is in the file
 * at once, as far as other processes and the next one see: it survives `kill -9`, not the machine. The mapping stays until the
 * process ends. Every block is written once, for a full disk must be an error here and not a signal (SIGBUS) later.
 * @throws Error, SystemError
 */
export function mapFile(path: string, size: number): ArrayBuffer {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  try {
    if (fstatSync(fd).size !== size) {
      ftruncateSync(fd, 0);
      try {
        const zeros = new Uint8Array(PIECE);
        for (let at = 0; at < size; at += PIECE) writeSync(fd, zeros, 0, Math.min(PIECE, size - at), at);
      } catch (error) {
        ftruncateSync(fd, 0);
        throw error;
      }
    }
    const address: unknown = mmap(null, size, PROT_READ_WRITE, MAP_SHARED, fd, 0);
    if (address === null || address === MAP_FAILED) throw new SystemError("mmap", errno(), path);
    return koffi.view(address, size);
  } finally {
    closeSync(fd);
  }
}
