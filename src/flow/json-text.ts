/**
 * What JSON leaves as it is and a terminal or a line reader does not: DEL and C1 controls, line separators, marks that turn
 * the direction of text. A hostile pod chooses paths and names; its text must not act in the log of whoever reads it.
 */
const UNSAFE = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\uffff]/g;
/** What JSON writes as it stands, between quotes. */
const PLAIN = /^[ !#-[\]-~]*$/;
const utf8 = new TextEncoder();

/** JSON text with what must not act in a terminal as escapes. */
export function escapeUnsafe(json: string): string {
  return json.replace(UNSAFE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A text as JSON, between quotes, safe to print. */
export function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : escapeUnsafe(JSON.stringify(text));
}

/** UTF-8. */
export function bytesOf(text: string): Uint8Array {
  return utf8.encode(text);
}
