const SLOTS = 4096;
/** Longer names are made anew each time: slots must not hold much memory that a pod chose. */
const LONGEST_KEPT = 96;

/**
 * The text of names, each made once while it keeps being read: an answer repeats its question, and clients ask for the same names.
 * One string for one name makes the maps behind it hash it once. A name that meets another in its slot takes it.
 */
export class NameTexts {
  readonly #slots = new Array<string>(SLOTS).fill("");

  /** `bytes[0, length)` as text: lower case, labels with dots between them. */
  text(bytes: Uint8Array, length: number): string {
    if (length > LONGEST_KEPT) return nameText(bytes, length);
    let hash = length;
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
    const slot = (hash ^ (hash >>> 15)) & (SLOTS - 1);
    const known = this.#slots[slot]!;
    if (known.length === length && isText(bytes, known)) return known;
    const text = nameText(bytes, length);
    this.#slots[slot] = text;
    return text;
  }
}

function isText(bytes: Uint8Array, text: string): boolean {
  for (let i = text.length - 1; i >= 0; i--) if (bytes[i] !== text.charCodeAt(i)) return false;
  return true;
}

/** As `NameTexts.text`, made anew. */
export function nameText(bytes: Uint8Array, length: number): string {
  return String.fromCharCode.apply(null, bytes.subarray(0, length) as unknown as number[]);
}
