const UNRESERVED = /[A-Za-z0-9\-._~]/;

/**
 * The path of a URL as a client would send it and the packet lane would read it: without query and fragment, dot
 * segments removed, `//` as one, escapes of unreserved characters undone (RFC 3986 §6.2.2). Null: it can be read in more
 * than one way, and the lane would refuse it.
 */
export function normaliseUrlPath(rest: string): string | null {
  const raw = rest.replace(/[?#].*$/s, "") || "/";
  const decoded = undoEscapes(raw);
  if (decoded === null || /[\\\p{Cc}\s]/u.test(decoded)) return null;
  const segments: string[] = [];
  const parts = decoded.split("/").slice(1);
  for (const [at, part] of parts.entries()) {
    const last = at === parts.length - 1;
    if (part === "..") {
      if (segments.pop() === undefined) return null;
      if (last) segments.push("");
    } else if (part !== "." && (part !== "" || last)) segments.push(part);
    else if (last) segments.push("");
  }
  return `/${segments.join("/")}`;
}

/** Null for an escape that is cut short, or that hides a separator or a NUL. */
function undoEscapes(path: string): string | null {
  let ambiguous = false;
  const decoded = path.replace(/%(.{0,2})/gs, (_escape, digits: string) => {
    if (!/^[0-9A-Fa-f]{2}$/.test(digits)) ambiguous = true;
    const code = Number.parseInt(digits, 16);
    if (code === 0 || code === 0x2f || code === 0x5c) ambiguous = true;
    const character = String.fromCharCode(code);
    return UNRESERVED.test(character) ? character : `%${digits.toUpperCase()}`;
  });
  return ambiguous ? null : decoded;
}
