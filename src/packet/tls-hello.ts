import { type HostNameProblem, readHostName } from "./host-name.ts";
import { half } from "./network-order.ts";

export interface ClientHelloBody {
  /** Canonical; null if there is none, or none that can be used. */
  readonly serverName: string | null;
  /** Why the server_name extension that is there cannot be used; null if it can, or is not there. */
  readonly serverNameProblem: ServerNameProblem | null;
  /** An encrypted_client_hello extension, GREASE or real, or its draft forerunner. */
  readonly encryptedClientHello: boolean;
  readonly earlyData: boolean;
  /** ALPN, each byte one character; at most 16. */
  readonly applicationProtocols: readonly string[];
  /** The extension of that name (RFC 8446 §4.2.1); empty for clients up to TLS 1.2. */
  readonly supportedVersions: readonly number[];
}

export type ServerNameProblem = HostNameProblem | "List" | "SeveralNames" | "NameType";

export type HelloBodyProblem =
  | "HelloVersion"
  | "HelloTruncated"
  | "SessionId"
  | "CipherSuites"
  | "Compression"
  | "ExtensionsLength"
  | "ExtensionOverrun"
  | "TooManyExtensions"
  | "DuplicateExtension"
  | "PreSharedKeyNotLast"
  | "ApplicationProtocols"
  | "SupportedVersions";

const EXTENSION = {
  serverName: 0,
  applicationProtocols: 16,
  preSharedKey: 41,
  earlyData: 42,
  supportedVersions: 43,
  encryptedClientHello: 0xfe0d,
  encryptedServerName: 0xffce,
} as const;

const MAX_EXTENSIONS = 128;
const MAX_PROTOCOLS = 16;

type Draft = { -readonly [K in keyof ClientHelloBody]: ClientHelloBody[K] };

/** Reads the body of a ClientHello that fills `buf[start, end)` exactly (RFC 8446 §4.1.2). */
export function readHelloBody(buf: Uint8Array, start: number, end: number): ClientHelloBody | HelloBodyProblem {
  const body: Draft = {
    serverName: null,
    serverNameProblem: null,
    encryptedClientHello: false,
    earlyData: false,
    applicationProtocols: [],
    supportedVersions: [],
  };
  if (end - start < 35) return "HelloTruncated";
  if (buf[start] !== 3) return "HelloVersion";
  let at = start + 34;
  const session = buf[at]!;
  at += 1 + session;
  if (session > 32 || at + 2 > end) return "SessionId";
  const ciphers = half(buf, at);
  at += 2 + ciphers;
  if (ciphers < 2 || ciphers % 2 !== 0 || at + 1 > end) return "CipherSuites";
  const methods = buf[at]!;
  at += 1 + methods;
  if (methods < 1 || at > end) return "Compression";
  if (at === end) return body;
  if (at + 2 > end || at + 2 + half(buf, at) !== end) return "ExtensionsLength";
  return readExtensions(buf, at + 2, end, body) ?? body;
}

/** A type that occurs twice is refused: which of the two counts is each server's own choice (RFC 8446 §4.2). */
function readExtensions(buf: Uint8Array, start: number, end: number, into: Draft): HelloBodyProblem | null {
  const types: number[] = [];
  for (let at = start; at < end; ) {
    if (at + 4 > end) return "ExtensionOverrun";
    const type = half(buf, at);
    const data = at + 4;
    const next = data + half(buf, at + 2);
    if (next > end) return "ExtensionOverrun";
    if (types.includes(type)) return "DuplicateExtension";
    if (types.length === MAX_EXTENSIONS) return "TooManyExtensions";
    types.push(type);
    const problem = readExtension(buf, type, data, next, into);
    if (problem !== null) return problem;
    if (type === EXTENSION.preSharedKey && next !== end) return "PreSharedKeyNotLast";
    at = next;
  }
  return null;
}

function readExtension(buf: Uint8Array, type: number, at: number, end: number, into: Draft): HelloBodyProblem | null {
  switch (type) {
    case EXTENSION.serverName:
      readServerName(buf, at, end, into);
      return null;
    case EXTENSION.applicationProtocols:
      return readProtocols(buf, at, end, into);
    case EXTENSION.supportedVersions:
      return readVersions(buf, at, end, into);
    case EXTENSION.earlyData:
      into.earlyData = true;
      return null;
    case EXTENSION.encryptedClientHello:
    case EXTENSION.encryptedServerName:
      into.encryptedClientHello = true;
      return null;
    default:
      return null;
  }
}

/** RFC 6066 §3. The list may hold one name of each type, and one type only was ever defined: more than one is a trick. */
function readServerName(buf: Uint8Array, at: number, end: number, into: Draft): void {
  if (end - at < 5 || half(buf, at) !== end - at - 2) {
    into.serverNameProblem = end - at === 2 && half(buf, at) === 0 ? "Empty" : "List";
    return;
  }
  const next = at + 5 + half(buf, at + 3);
  if (next > end) into.serverNameProblem = "List";
  else if (next < end) into.serverNameProblem = "SeveralNames";
  else if (buf[at + 2] !== 0) into.serverNameProblem = "NameType";
  else {
    const host = readHostName(buf, at + 5, next);
    into.serverName = host.name;
    into.serverNameProblem = host.problem;
  }
}

function readProtocols(buf: Uint8Array, at: number, end: number, into: Draft): HelloBodyProblem | null {
  if (end - at < 4 || half(buf, at) !== end - at - 2) return "ApplicationProtocols";
  const protocols: string[] = [];
  for (let position = at + 2; position < end; ) {
    const next = position + 1 + buf[position]!;
    if (next === position + 1 || next > end) return "ApplicationProtocols";
    if (protocols.length < MAX_PROTOCOLS) protocols.push(latin1(buf, position + 1, next));
    position = next;
  }
  into.applicationProtocols = protocols;
  return null;
}

function latin1(buf: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at++) text += String.fromCharCode(buf[at]!);
  return text;
}

function readVersions(buf: Uint8Array, at: number, end: number, into: Draft): HelloBodyProblem | null {
  const size = end - at;
  if (size < 3 || size % 2 === 0 || buf[at] !== size - 1) return "SupportedVersions";
  const versions: number[] = [];
  for (let position = at + 1; position < end; position += 2) versions.push(half(buf, position));
  into.supportedVersions = versions;
  return null;
}
