import type { Application, Facts } from "../model/facts.ts";
import { unboundFacts } from "../model/unbound-facts.ts";
import { type Address, ipv4, parseAddress } from "../net/address.ts";
import { normaliseDnsName } from "../net/name.ts";
import { ICMP, SCTP, TCP, UDP } from "../net/ports.ts";
import { normaliseUrlPath } from "./url-path.ts";

/**
 * Stands for "some address outside, of which nothing is known": a name that a workload resolved, to whatever. It is in
 * `0.0.0.0/0` and in no narrower range (program/marks keeps that). As a real destination 0.0.0.0 never leaves a host.
 */
export const PLACEHOLDER: Address = ipv4(0);

/**
 * What `explain --to` names: a flow as the packet lane would learn of it, at the first packet and with all facts, or a
 * DNS question.
 */
export type Destination =
  | { readonly kind: "flow"; readonly name: string | null; readonly stages: readonly [Facts, Facts] }
  | { readonly kind: "question"; readonly name: string }
  | { readonly kind: "problem"; readonly problem: string };

export interface DestinationOptions {
  /** Connect here instead of to an address that the name was resolved to. */
  readonly ip?: string | undefined;
  /** Of an HTTP request; default `GET`. */
  readonly method?: string | undefined;
  /** A TLS or QUIC hello with an encrypted_client_hello extension; default false. */
  readonly encryptedClientHello?: boolean | undefined;
}

interface Scheme {
  readonly protocol: number;
  readonly port: number | null;
  readonly application: Application;
}

const SCHEMES: Readonly<Record<string, Scheme>> = {
  https: { protocol: TCP, port: 443, application: "TLS" },
  http: { protocol: TCP, port: 80, application: "HTTP" },
  quic: { protocol: UDP, port: 443, application: "QUIC" },
  sctp: { protocol: SCTP, port: null, application: "Other" },
  tcp: { protocol: TCP, port: null, application: "Other" },
  udp: { protocol: UDP, port: null, application: "Other" },
  icmp: { protocol: ICMP, port: 0, application: "Other" },
};
const KNOWN = "`https://`, `http://`, `quic://`, `tcp://`, `udp://`, `sctp://`, `icmp://` or `dns://`";

/**
 * Reads `https://host/path`, `http://host:port/path`, `quic://host`, `tcp://name-or-address:port`, `udp://…`,
 * `sctp://…`, `icmp://address`, `dns://name`. A name counts as resolved by the workload, to PLACEHOLDER; with `ip` it does not, and
 * the flow goes there. An address as host has no binding, and TLS or QUIC to it hides its name. Never throws.
 */
export function destinationFromUrl(text: string, options: DestinationOptions = {}): Destination {
  const parts = /^([A-Za-z]+):\/\/([^/?#]*)(.*)$/s.exec(text);
  if (parts === null) return problem(`\`${text}\` is no destination: write it with ${KNOWN} in front`);
  const [, written = "", authority = "", rest = ""] = parts;
  const scheme = written.toLowerCase();
  if (scheme === "dns") return question(text, authority, rest, options);
  const known = Object.hasOwn(SCHEMES, scheme) ? SCHEMES[scheme]! : null;
  if (known === null) return problem(`\`${scheme}://\` is not known: use ${KNOWN}`);
  const host = /^(\[[^\]]*\]|[^:[\]@]+)(?::([0-9]{1,5}))?$/.exec(authority);
  if (!host) return problem(noHost(text, authority));
  if (known.port === 0 && host[2] !== undefined)
    return problem(`\`${scheme}\` has no ports: leave \`:${host[2]}\` out`);
  const port = host[2] === undefined ? known.port : Number(host[2]);
  if (port === null || port > 65535)
    return problem(`\`${text}\` needs a port from 0 to 65535, as in \`${scheme}://host:22\``);
  return flow(known, host[1]!, port, rest, options);
}

function noHost(text: string, authority: string): string {
  if (authority === "") return `\`${text}\` names no host: write a name or address behind \`://\``;
  if (authority.includes("@")) return `\`${authority}\` holds a user: write the host alone`;
  const bare = parseAddress(authority) !== null && authority.includes(":");
  const right = bare ? `write \`[${authority}]\`` : "write a name or address (IPv6 in brackets), then perhaps `:port`";
  return `\`${authority}\` is no host: ${right}`;
}

function flow(scheme: Scheme, host: string, port: number, rest: string, options: DestinationOptions): Destination {
  const literal = parseAddress(host.replace(/^\[(.*)\]$/, "$1"));
  const name = literal === null ? normaliseDnsName(host) : null;
  if (literal === null && name === null) return problem(`\`${host}\` is no DNS name and no address`);
  const elsewhere = options.ip === undefined ? null : parseAddress(options.ip);
  if (options.ip !== undefined && elsewhere === null)
    return problem(`\`${options.ip}\` is no address: use one as \`203.0.113.10\``);
  if (literal !== null && elsewhere !== null)
    return problem(`\`${host}\` is an address already: leave \`--ip\` out, or use a name`);
  const path = normaliseUrlPath(rest);
  if (path === null)
    return problem(`\`${rest}\` is no path that can be read in one way only: the agent refuses such a request`);
  const address = literal ?? elsewhere ?? PLACEHOLDER;
  const names = name === null || elsewhere !== null ? [] : [name];
  // Names are not final: the agent may still resolve one itself.
  const first = { ...unboundFacts(address, port, scheme.protocol), names };
  return { kind: "flow", name, stages: [first, withPayload(first, scheme.application, name, path, options)] };
}

function withPayload(
  first: Facts,
  application: Application,
  name: string | null,
  path: string,
  options: DestinationOptions,
): Facts {
  const hello = application === "TLS" || application === "QUIC";
  const request = application === "HTTP";
  return {
    ...first,
    namesFinal: true,
    application,
    evidence: hello || request ? name : null,
    nameHidden: hello && name === null,
    encryptedClientHello: hello && options.encryptedClientHello === true,
    method: request ? (options.method ?? "GET") : null,
    path: request ? path : null,
    ended: true,
  };
}

function question(text: string, authority: string, rest: string, options: DestinationOptions): Destination {
  const name = normaliseDnsName(authority);
  if (name === null || (rest !== "" && rest !== "/"))
    return problem(`\`${text}\` is no question: write \`dns://name\``);
  if (options.ip !== undefined) return problem("`--ip` goes with a connection: a DNS question is judged by its name");
  return { kind: "question", name };
}

function problem(text: string): Destination {
  return { kind: "problem", problem: text };
}
