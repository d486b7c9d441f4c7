import type { LinePage } from "../flow/line-writer.ts";

const NEWLINE = 10;

/** Whole lines on their way to the flow log. */
export class FlowPage implements LinePage {
  readonly bytes: Buffer;
  length = 0;
  lines = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
  }
}

/** Where the last line ends that ends within `most` bytes of `start`; the first line counts however long it is. */
export function endOfLines(bytes: Buffer, start: number, most: number): number {
  if (bytes.length - start <= most) return bytes.length;
  const end = bytes.lastIndexOf(NEWLINE, start + most - 1) + 1;
  return end > start ? end : bytes.indexOf(NEWLINE, start) + 1;
}

export function countLines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) count++;
  return count;
}
