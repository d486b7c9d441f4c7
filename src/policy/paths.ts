/** What is wrong with a path in a rule: one line and, where there is one, the right spelling. */
export interface PathSpelling {
  readonly problem: string;
  readonly suggestion: string | null;
}

/**
 * Rules are compared with the normalised path of a request: escapes of unreserved characters decoded, others in upper case
 * (RFC 3986 §6.2.2), `.` and `..` resolved, `//` collapsed, no query. A value spelt otherwise could never match, so it is
 * refused. `whole`: exact and prefix values, which start at the root; a suffix may start anywhere.
 */
export function checkPathSpelling(value: string, whole: boolean): PathSpelling | null {
  if (value === "") return { problem: "is empty", suggestion: null };
  if (value.length > 4096) return { problem: "is longer than 4096 characters", suggestion: null };
  if (whole && !value.startsWith("/")) return { problem: "does not start with `/`", suggestion: spelt(`/${value}`) };
  if (/[?#]/.test(value))
    return { problem: "holds a query or fragment", suggestion: spelt(value.replace(/[?#].*$/s, "")) };
  if (value.includes("\\")) return { problem: "holds a backslash, which requests are refused for", suggestion: null };
  if (/%(?![0-9a-fA-F]{2})/.test(value))
    return { problem: "holds a `%` without two hexadecimal digits", suggestion: null };
  if (/%(2f|5c|[01][0-9a-f]|7f)/i.test(value)) {
    return {
      problem: "holds an encoded slash, backslash or control character, which requests are refused for",
      suggestion: null,
    };
  }
  const right = spelt(value);
  if (right === value) return null;
  const dots = /(^|\/)\.\.?(\/|$)/.test(value) || value.includes("//");
  return { problem: dots ? "holds `//`, `.` or `..`" : "is not spelt as requests are read", suggestion: right };
}

function spelt(value: string): string | null {
  const escaped = [...value].map((c) => (/[!-~]/.test(c) ? c : escapeCharacter(c))).join("");
  const decoded = escaped.replace(/%([0-9a-fA-F]{2})/g, (sequence, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return /[A-Za-z0-9._~-]/.test(character) ? character : sequence.toUpperCase();
  });
  return decoded.startsWith("/") ? resolveDots(decoded) : decoded.replace(/\/{2,}/g, "/");
}

function escapeCharacter(character: string): string {
  const bytes = new TextEncoder().encode(character);
  return Array.from(bytes, (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
}

function resolveDots(path: string): string | null {
  const kept: string[] = [];
  const segments = path.split("/").slice(1);
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1;
    if (segment === "..") {
      if (kept.pop() === undefined) return null;
    } else if (segment !== "." && (segment !== "" || last)) kept.push(segment);
    if (last && (segment === "." || segment === "..")) kept.push("");
  }
  return `/${kept.join("/")}`;
}
