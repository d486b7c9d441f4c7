import { parseAddress } from "./address.ts";
import { toALabels } from "./idna.ts";

/**
 * A DNS name in canonical form: lower case, no trailing dot, letters, digits, `-` and `_`, labels of 1 to 63 characters
 * (RFC 1123 §2.1, underscore as in SRV and DKIM names), 253 in all (RFC 1035 §2.3.4), other scripts as A-labels (RFC 5890).
 */
export type DnsName = string;

export type DnsNameResult =
  | { readonly ok: true; readonly name: DnsName }
  | { readonly ok: false; readonly problem: string; readonly suggestion?: string };

const MAX_NAME = 253;
const MAX_LABEL = 63;

/** Reads a name as a document must spell it. `problem` is one line; `suggestion` is the right spelling, where there is one. */
export function parseDnsName(text: string): DnsNameResult {
  const wrong = findProblem(text);
  if (wrong === null) return { ok: true, name: text };
  const name = normaliseDnsName(text);
  if (name === null) return { ok: false, problem: wrong };
  return { ok: false, problem: `\`${text}\` is not in canonical form: write \`${name}\``, suggestion: name };
}

/** A name as flows, URLs and people spell it, in canonical form; null if it is none. An IP address is none. */
export function normaliseDnsName(text: string): DnsName | null {
  if (text.length > 1024) return null;
  let name = text.toLowerCase();
  if (!isAscii(text)) {
    const mapped = toALabels(text);
    if (mapped === null) return null;
    name = mapped;
  }
  if (name.endsWith(".")) name = name.slice(0, -1);
  return findProblem(name) === null ? name : null;
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    if (text.charCodeAt(at) > 0x7f) return false;
  }
  return true;
}

/** One line, or null if `text` is canonical. */
function findProblem(text: string): string | null {
  if (text === "") return "a name must not be empty";
  const shown = `\`${text.length > 80 ? `${text.slice(0, 80)}…` : text}\``;
  if (text.length > MAX_NAME) return `${shown} is longer than ${MAX_NAME} characters: shorten it`;
  if (parseAddress(text) !== null) return `${shown} is an address, not a name: use \`cidrs\``;
  const labels = text.split(".");
  for (const label of labels) {
    if (label === "") return `${shown} has an empty label: take the extra dot out`;
    if (label.length > MAX_LABEL) return `${shown} has a label longer than ${MAX_LABEL} characters: shorten it`;
    const odd = /[^a-z0-9_-]/u.exec(label);
    if (odd !== null) return oddCharacter(shown, odd[0]);
    if (label.startsWith("-") || label.endsWith("-"))
      return `${shown} has a label that starts or ends with \`-\`: take it out`;
  }
  // WHATWG URL and inet_aton read a numeric last label as an IPv4 address.
  if (/^([0-9]+|0x[0-9a-f]*)$/.test(labels.at(-1)!)) return `${shown} reads as an address, not a name: use \`cidrs\``;
  return null;
}

function oddCharacter(shown: string, character: string): string {
  if (character === "*") return `${shown} has a \`*\` in an odd place: only \`*\` and \`*.name\` are patterns`;
  if (character === ":" || character === "/") return `${shown} is not a bare name: leave scheme, port and path out`;
  return `${shown} has the character \`${character}\`: use letters, digits, \`-\`, \`_\` and dots`;
}
