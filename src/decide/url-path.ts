import { normalisePath } from "../net/url-path.ts";

const NOT_ASCII = /[^\0-\x7f]+/gu;

/**
 * The path of a URL as a client would send it and the packet lane would read it: without query and fragment, escaped
 * where it is not ASCII, in normal form. Null: the lane would refuse it, for it can be read in more than one way.
 */
export function normaliseUrlPath(rest: string): string | null {
  const raw = rest.replace(/[?#].*$/s, "") || "/";
  const escaped = raw.toWellFormed().replace(NOT_ASCII, encodeURIComponent);
  const bytes = new TextEncoder().encode(escaped);
  return normalisePath(bytes, 0, bytes.length).path;
}
