/**
 * Writes DER (ITU-T X.690): what a certificate is made of, and no more. Nothing here reads DER: that is left to Node.
 */
export type Der = Buffer;

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Tag, length, content (X.690 §8.1). */
function element(tag: number, content: Uint8Array): Der {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length, ...bytes]), content]);
}

export function sequence(...parts: readonly Der[]): Der {
  return element(TAG.sequence, Buffer.concat(parts));
}

export function setOf(part: Der): Der {
  return element(TAG.set, part);
}

export function boolean(value: boolean): Der {
  return element(TAG.boolean, Buffer.from([value ? 0xff : 0]));
}

/** Of an unsigned number, most significant byte first: as few bytes as it takes, none of them a sign. */
export function unsigned(bytes: Uint8Array): Der {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const short = bytes.subarray(from);
  return element(TAG.integer, short[0]! >= 0x80 ? Buffer.concat([Buffer.from([0]), short]) : short);
}

/** `unused`: how many of the last bits say nothing. */
export function bitString(bytes: Uint8Array, unused = 0): Der {
  return element(TAG.bitString, Buffer.concat([Buffer.from([unused]), bytes]));
}

export function octetString(bytes: Uint8Array): Der {
  return element(TAG.octetString, bytes);
}

export function utf8String(text: string): Der {
  return element(TAG.utf8String, Buffer.from(text, "utf8"));
}

/** `1.2.840.10045.4.3.2`. */
export function objectIdentifier(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const digits = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) digits.unshift(0x80 | (left % 128));
    return digits;
  });
  return element(TAG.objectIdentifier, Buffer.from(bytes));
}

/** To the second; RFC 5280 §4.1.2.5 says which of the two types. */
export function time(date: Date): Der {
  const digits = `${date.toISOString().replace(/[-:T]/g, "").slice(0, 14)}Z`;
  const short = date.getUTCFullYear() < 2050;
  return element(short ? TAG.utcTime : TAG.generalizedTime, Buffer.from(short ? digits.slice(2) : digits));
}

/** `[number]` around whole elements. */
export function explicit(number: number, ...parts: readonly Der[]): Der {
  return element(0xa0 | number, Buffer.concat(parts));
}

/** `[number]` in place of a primitive element's tag. */
export function implicit(number: number, content: Uint8Array): Der {
  return element(0x80 | number, content);
}
