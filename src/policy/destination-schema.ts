import { RE2JS } from "re2js";
import * as z from "zod";
import { cidrCovers, parseCidr } from "../net/cidr.ts";
import { hasPorts, MAX_PORT, PROTOCOL_NAMES, protocolNumber } from "../net/ports.ts";
import { at, type Check, checked, type Finding, oneLine, shown } from "./check.ts";
import { checkPathSpelling } from "./paths.ts";
import { CidrText, Domain, listOf, Method, ObjectName } from "./values.ts";

const PortNumber = z.int().min(1).max(MAX_PORT);

const Port = checked(
  z.object({
    protocol: z.enum(PROTOCOL_NAMES).default("TCP"),
    port: PortNumber.optional(),
    endPort: PortNumber.optional(),
  }),
  {
    name: "port-with-protocol",
    cel: "!has(self.port) || self.protocol in ['TCP', 'UDP', 'SCTP']",
    find: ({ protocol = "TCP", port }) =>
      port === undefined || hasPorts(protocolNumber(protocol))
        ? null
        : at(
            `\`${protocol}\` takes no port: leave \`port\` out, or write an entry for each of \`TCP\`, \`UDP\`, \`SCTP\``,
            "port",
          ),
  },
  {
    name: "end-port",
    cel: "!has(self.endPort) || (has(self.port) && self.endPort >= self.port)",
    find({ port, endPort }) {
      if (endPort === undefined) return null;
      if (port === undefined) return at("`endPort` is given without `port`: add the first port as `port`", "endPort");
      return endPort >= port ? null : at(`\`endPort\` ${endPort} is below \`port\` ${port}: swap them`, "endPort");
    },
  },
);

const PathText = z.string().max(4096);
const PATH_KINDS = ["exact", "prefix", "suffix", "regex"] as const;

export const HttpPath = checked(
  z.object({
    exact: PathText.optional(),
    prefix: PathText.optional().meta({
      description: "Compared by character: end it with `/` to mean what lies below.",
    }),
    suffix: PathText.optional(),
    regex: PathText.optional().meta({ description: "RE2 syntax; it must match the whole path." }),
  }),
  {
    name: "one-kind-of-path",
    cel: "[has(self.exact), has(self.prefix), has(self.suffix), has(self.regex)].filter(given, given).size() == 1",
    find(value) {
      const given = PATH_KINDS.filter((kind) => value[kind] !== undefined);
      if (given.length === 1) return null;
      const all = "one of `exact`, `prefix`, `suffix`, `regex`";
      return at(
        given.length === 0
          ? `a path says nothing: give ${all}`
          : `a path takes exactly ${all}: write an entry for each`,
      );
    },
  },
  { name: "path-spelling", cel: null, find: (value) => PATH_KINDS.flatMap((kind) => pathFindings(kind, value[kind])) },
);

function pathFindings(kind: (typeof PATH_KINDS)[number], value: string | undefined): Finding[] {
  if (value === undefined) return [];
  if (kind === "regex") return regexFindings(value);
  const wrong = checkPathSpelling(value, kind !== "suffix");
  if (wrong === null) return [];
  const fix = wrong.suggestion === null ? "no request path is spelt so" : `write ${shown(wrong.suggestion)}`;
  return [at(`the path ${shown(value)} ${wrong.problem}: ${fix}`, kind)];
}

function regexFindings(value: string): Finding[] {
  try {
    RE2JS.compile(value);
    return [];
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^error parsing regexp: /, "") : "not understood";
    return [
      at(`the regular expression ${shown(value)} does not compile (${oneLine(why, 100)}): use RE2 syntax`, "regex"),
    ];
  }
}

const Http = z.object({
  methods: listOf(Method, "`methods` is empty: leave it out to mean every method").optional(),
  paths: listOf(HttpPath, "`paths` is empty: leave it out to mean every path").optional(),
});

const Tls = z.object({
  required: z.boolean().default(false),
  encryptedClientHello: z.enum(["Allow", "Deny"]).default("Allow"),
});

const lists = {
  domains: listOf(Domain, "`domains` is empty: leave it out, or name at least one").optional(),
  cidrs: listOf(CidrText, "`cidrs` is empty: leave it out, or name at least one").optional(),
  except: listOf(CidrText, "`except` is empty: leave it out").optional().meta({ description: "Taken out of `cidrs`." }),
};

const exceptInside: Check<{ readonly cidrs?: string[] | undefined; readonly except?: string[] | undefined }> = {
  name: "except-inside-cidrs",
  cel: "!has(self.except) || (has(self.cidrs) && self.except.all(out, self.cidrs.exists(range, cidr(range).containsCIDR(out))))",
  find({ cidrs, except }) {
    if (except === undefined) return null;
    if (cidrs === undefined)
      return at("`except` is given without `cidrs`: add the ranges it is taken out of", "except");
    const ranges = cidrs.map(parseCidr);
    return except.flatMap((text, index) => {
      const out = parseCidr(text);
      // A range that does not parse has a finding of its own.
      if (!out.ok || ranges.some((range) => !range.ok || cidrCovers(range.cidr, out.cidr))) return [];
      return [at(`${shown(text)} lies in none of \`cidrs\`: take it out, or add the range around it`, "except", index)];
    });
  },
};

export const Destination = checked(
  z.object({
    ...lists,
    group: ObjectName.optional().meta({ description: "Name of a DestinationGroup; its domains and cidrs are ORed." }),
    ports: listOf(Port, "`ports` is empty: leave it out to mean every port").optional(),
    http: Http.optional().meta({ description: "Plaintext HTTP; every request is checked." }),
    tls: Tls.optional(),
  }),
  exceptInside,
  {
    name: "http-without-tls",
    cel: "!has(self.http) || !has(self.tls) || !self.tls.required",
    find: ({ http, tls }) =>
      http !== undefined && tls?.required === true
        ? at("`http` reads plaintext only and `tls.required` refuses it: write an entry for each", "tls", "required")
        : null,
  },
);

export const GroupSpec = checked(z.object(lists), exceptInside, {
  name: "group-not-empty",
  cel: "has(self.domains) || has(self.cidrs)",
  find: ({ domains, cidrs }) =>
    domains === undefined && cidrs === undefined ? at("the group holds nothing: give it `domains` or `cidrs`") : null,
});

export type DestinationText = z.output<typeof Destination>;
export type GroupText = z.output<typeof GroupSpec>;
