import * as z from "zod";
import { cidrCovers, parseCidr } from "../net/cidr.ts";
import { hasPorts, MAX_PORT, PROTOCOL_NAMES, protocolNumber } from "../net/ports.ts";
import { type ApiTwin, at, type Check, checked, shown } from "./check.ts";
import { HttpPath } from "./path-schema.ts";
import { CidrText, Domain, listOf, Method, ObjectName } from "./values.ts";

/** Longest lists of one rule and of one group; the API server's cost limits follow from them (docs/adr/0015-custom-resources.md). */
const MOST = { domains: 256, cidrs: 64, except: 32, ports: 32, methods: 16, paths: 16 } as const;
const MOST_OF_GROUP = { domains: 10_000, cidrs: 5000, except: 32 } as const;

const PortNumber = z.int().min(1).max(MAX_PORT);

const Port = checked(
  z
    .object({
      protocol: z.enum(PROTOCOL_NAMES).default("TCP").meta({
        description: "`ICMP` stands for ICMPv6 too; `Any` is every IP protocol.",
      }),
      port: PortNumber.optional().meta({
        description: "Destination port. Left out: every port. Not with `ICMP` or `Any`.",
      }),
      endPort: PortNumber.optional().meta({
        description: "Last port of a range that begins at `port`, at least `port`.",
      }),
    })
    .meta({ description: "A protocol, and a port or range of ports." }),
  {
    name: "port-with-protocol",
    api: {
      by: "cel",
      rule: "!has(self.port) || self.protocol in ['TCP', 'UDP', 'SCTP']",
      message: "`port` is for TCP, UDP and SCTP: leave it out, or write an entry for each of them",
    },
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
    api: {
      by: "cel",
      rule: "!has(self.endPort) || (has(self.port) && self.endPort >= self.port)",
      message: "`endPort` needs `port`, and must not be below it",
    },
    find({ port, endPort }) {
      if (endPort === undefined) return null;
      if (port === undefined) return at("`endPort` is given without `port`: add the first port as `port`", "endPort");
      return endPort >= port ? null : at(`\`endPort\` ${endPort} is below \`port\` ${port}: swap them`, "endPort");
    },
  },
);

const Http = z.object({
  methods: listOf(Method, MOST.methods, "`methods` is empty: leave it out to mean every method")
    .optional()
    .meta({ description: "One of these methods, in upper case. Left out: every method." }),
  paths: listOf(HttpPath, MOST.paths, "`paths` is empty: leave it out to mean every path")
    .optional()
    .meta({ description: "One of these paths, compared after normalising. Left out: every path." }),
});

const Tls = z.object({
  required: z.boolean().default(false).meta({
    description: "The flow must speak TLS or QUIC. Not together with `http`.",
  }),
  encryptedClientHello: z.enum(["Allow", "Deny"]).default("Allow").meta({
    description: "`Deny`, in Allow rules only: a hello with that extension does not match.",
  }),
});

const lists = (most: { readonly domains: number; readonly cidrs: number; readonly except: number }) => ({
  domains: listOf(Domain, most.domains, "`domains` is empty: leave it out, or name at least one").optional(),
  cidrs: listOf(CidrText, most.cidrs, "`cidrs` is empty: leave it out, or name at least one").optional(),
  except: listOf(CidrText, most.except, "`except` is empty: leave it out")
    .optional()
    .meta({ description: "Ranges inside `cidrs`, taken out of them." }),
});

interface Ranges {
  readonly cidrs?: string[] | undefined;
  readonly except?: string[] | undefined;
}

const exceptWithCidrs: Check<Ranges> = {
  name: "except-with-cidrs",
  api: {
    by: "cel",
    rule: "!has(self.except) || has(self.cidrs)",
    message: "`except` is given without `cidrs`: add the ranges it is taken out of",
  },
  find: ({ cidrs, except }) =>
    except !== undefined && cidrs === undefined
      ? at("`except` is given without `cidrs`: add the ranges it is taken out of", "except")
      : null,
};

const exceptInside = (api: ApiTwin): Check<Ranges> => ({
  name: "except-inside-cidrs",
  api,
  find({ cidrs, except }) {
    if (except === undefined || cidrs === undefined) return null;
    const ranges = cidrs.map(parseCidr);
    return except.flatMap((text, index) => {
      const out = parseCidr(text);
      // A range that does not parse has a finding of its own.
      if (!out.ok || ranges.some((range) => !range.ok || cidrCovers(range.cidr, out.cidr))) return [];
      return [at(`${shown(text)} lies in none of \`cidrs\`: take it out, or add the range around it`, "except", index)];
    });
  },
});

export const Destination = checked(
  z
    .object({
      domains: lists(MOST).domains.meta({
        description:
          "Names. An Allow, Pass or Next by name asks that the pod resolved the name to the address, and that the flow carries it wherever it can.",
      }),
      cidrs: lists(MOST).cidrs.meta({ description: "Address ranges: the destination lies in one of them." }),
      except: lists(MOST).except,
      group: ObjectName.optional().meta({
        description:
          "Name of a DestinationGroup: one of its domains or one of its ranges. A group that does not exist matches nothing, and everything in a Deny.",
      }),
      ports: listOf(Port, MOST.ports, "`ports` is empty: leave it out to mean every port")
        .optional()
        .meta({ description: "Protocols and ports, ORed. Left out: every protocol and port." }),
      http: Http.optional().meta({ description: "Plaintext HTTP only; every request of a connection is checked." }),
      tls: Tls.optional().meta({ description: "What is asked of TLS and QUIC." }),
    })
    .meta({ description: "A kind of destination. The fields are ANDed; one that is left out asks for nothing." }),
  exceptWithCidrs,
  exceptInside({
    by: "status",
    why: "every exception against every range, in every entry of every rule, is above the cost limit of an expression; such an exception takes nothing out",
  }),
  {
    name: "http-without-tls",
    api: {
      by: "cel",
      rule: "!has(self.http) || !has(self.tls) || !self.tls.required",
      message: "`http` reads plaintext only and `tls.required` refuses it: write an entry for each",
    },
    find: ({ http, tls }) =>
      http !== undefined && tls?.required === true
        ? at("`http` reads plaintext only and `tls.required` refuses it: write an entry for each", "tls", "required")
        : null,
  },
);

/** Pairs of range and exception that the API server compares: more would end the request by its cost. */
const MOST_PAIRS = 50_000;

export const GroupSpec = checked(
  z.object({
    domains: lists(MOST_OF_GROUP).domains.meta({ description: "Names; ORed with `cidrs`. At least one of the two." }),
    cidrs: lists(MOST_OF_GROUP).cidrs.meta({ description: "Address ranges; ORed with `domains`." }),
    except: lists(MOST_OF_GROUP).except,
  }),
  exceptWithCidrs,
  exceptInside({
    by: "cel",
    rule: `!has(self.except) || !has(self.cidrs) || size(self.except) * size(self.cidrs) > ${MOST_PAIRS} || self.except.all(out, self.cidrs.exists(range, cidr(range).containsCIDR(out)))`,
    message: "each range of `except` must lie in one of `cidrs`",
  }),
  {
    name: "group-not-empty",
    api: {
      by: "cel",
      rule: "has(self.domains) || has(self.cidrs)",
      message: "the group holds nothing: give it `domains` or `cidrs`",
    },
    find: ({ domains, cidrs }) =>
      domains === undefined && cidrs === undefined ? at("the group holds nothing: give it `domains` or `cidrs`") : null,
  },
);

export type DestinationText = z.output<typeof Destination>;
export type GroupText = z.output<typeof GroupSpec>;
