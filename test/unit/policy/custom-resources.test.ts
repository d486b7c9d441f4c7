import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as z from "zod";
import type { Check } from "../../../src/policy/check.ts";
import { ClusterAgentConfigSpec } from "../../../src/policy/config-schema.ts";
import {
  CUSTOM_RESOURCES,
  customResourceDefinition,
  customResourceFiles,
} from "../../../src/policy/custom-resources.ts";
import { loadDocuments } from "../../../src/policy/documents.ts";
import { KINDS } from "../../../src/policy/schema.ts";
import { toStructural } from "../../../src/policy/structural.ts";
import { unwrap } from "../../../src/policy/validate.ts";
import { POLICY_CASES } from "../../support/policy-cases.ts";
import { runs } from "../../support/runs.ts";

const folder = new URL("../../../deploy/crds/", import.meta.url);

type Node = Record<string, unknown>;
interface Found {
  readonly path: string;
  readonly node: Node;
}

/** Every schema node of a definition, with its path. */
function nodesOf(root: unknown): Found[] {
  const found: Found[] = [];
  const visit = (node: Node, path: string) => {
    found.push({ path, node });
    const properties = (node["properties"] ?? {}) as Record<string, Node>;
    for (const [name, child] of Object.entries(properties)) visit(child, `${path}.${name}`);
    for (const [word, mark] of [
      ["items", "[]"],
      ["additionalProperties", "{}"],
    ] as const) {
      if (node[word] !== undefined) visit(node[word] as Node, path + mark);
    }
  };
  visit(root as Node, "");
  return found;
}

const definitions = CUSTOM_RESOURCES.map((resource) => {
  const definition = JSON.parse(JSON.stringify(customResourceDefinition(resource)));
  return { kind: resource.kind, nodes: nodesOf(definition.spec.versions[0].schema.openAPIV3Schema), definition };
});

/** The checks of all kinds, and the schema node that each belongs to. */
function checksOf(): { check: Check<never>; schema: z.core.$ZodType }[] {
  const found = new Map<Check<never>, z.core.$ZodType>();
  const visit = (wrapped: z.core.$ZodType): void => {
    const { schema, checks } = unwrap(wrapped);
    for (const check of checks) found.set(check, schema);
    if (schema instanceof z.ZodObject) for (const child of Object.values<z.core.$ZodType>(schema.shape)) visit(child);
    else if (schema instanceof z.ZodArray) visit(schema.element);
  };
  for (const schema of [...Object.values(KINDS), ClusterAgentConfigSpec]) visit(schema);
  return [...found].map(([check, schema]) => ({ check, schema }));
}

test("the stored definitions are those of the source", () => {
  // If this fails: make crds
  const stored = new Map(readdirSync(folder).map((name) => [name, readFileSync(new URL(name, folder), "utf8")]));
  expect(stored).toEqual(customResourceFiles());
});

describe.each(definitions)("the schema of $kind", ({ nodes }) => {
  test("is structural", () => {
    const words = nodes.flatMap(({ node }) => Object.keys(node));
    for (const word of ["anyOf", "oneOf", "allOf", "$ref", "propertyNames", "const"]) expect(words).not.toContain(word);
    expect(nodes.filter(({ node }) => node["additionalProperties"] === false)).toEqual([]);
    const typed = nodes.filter(({ node }) => node["type"] === undefined && node["x-kubernetes-int-or-string"] !== true);
    expect(typed).toEqual([]);
  });

  test("bounds every list, map and text", () => {
    const unbounded = nodes.filter(({ node }) => {
      if (node["type"] === "array") return node["maxItems"] === undefined;
      if (node["additionalProperties"] !== undefined) return node["maxProperties"] === undefined;
      if (node["type"] !== "string") return false;
      return [node["maxLength"], node["enum"], node["format"]].every((bound) => bound === undefined);
    });
    expect(unbounded.map(({ path }) => path)).toEqual([".apiVersion", ".kind"]);
  });

  test("explains every field, in whole sentences", () => {
    const fields = nodes.filter(({ path }) => /\w$/.test(path) && path !== ".metadata");
    const silent = fields.filter(({ node }) => !/[.:`]$/.test(String(node["description"] ?? "")));
    expect(silent.map(({ path }) => path)).toEqual([]);
  });
});

test("names are no one else's, and conditions are told apart by their type", () => {
  const short = definitions.flatMap(({ definition }) => definition.spec.names.shortNames);
  expect(new Set(short).size).toBe(definitions.length);
  // Of Kubernetes itself: `kubectl get ep` must stay what it is.
  for (const name of [
    "cm",
    "cs",
    "crd",
    "cr",
    "cj",
    "ds",
    "deploy",
    "ep",
    "ev",
    "ing",
    "ns",
    "no",
    "netpol",
    "po",
    "pv",
    "rs",
    "sa",
    "sc",
    "sts",
    "svc",
  ])
    expect(short).not.toContain(name);
  for (const { nodes } of definitions) {
    const [conditions] = nodes.filter(({ path }) => path === ".status.conditions");
    expect(conditions!.node).toMatchObject({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"] });
  }
});

describe("checks and the API server", () => {
  const checks = checksOf();

  test("each check has a case that is accepted and one that is refused", () => {
    for (const becomes of ["accepted", "refused"] as const) {
      const covered = new Set(POLICY_CASES.filter((one) => one.becomes === becomes).map(({ check }) => check));
      const asked = becomes === "accepted" ? checks : checks.filter(({ check }) => check.api.by !== "status");
      expect([...new Set(asked.map(({ check }) => check.name))].filter((name) => !covered.has(name))).toEqual([]);
    }
  });

  test("what the API server cannot judge", () => {
    const left = checks.flatMap(({ check: { name, api } }) => (api.by === "status" ? [`${name}: ${api.why}`] : []));
    expect(left).toMatchInlineSnapshot(`
      [
        "regexes-not-too-heavy: what repetitions write out cannot be counted in an expression; such a policy is not read",
        "except-inside-cidrs: every exception against every range, in every entry of every rule, is above the cost limit of an expression; such an exception takes nothing out",
      ]
    `);
    const covered = POLICY_CASES.filter(({ becomes }) => becomes === "reported").map(({ check }) => check);
    for (const name of left) expect(covered).toContain(name.split(":")[0]);
  });

  test("messages are one line", () => {
    for (const { check } of checks) if (check.api.by === "cel") expect(check.api.message).toMatch(/^[^\n]{1,200}$/);
  });
});

describe("patterns that stand for a check accept what it accepts", () => {
  const nodes = checksOf().filter(({ check, schema }) => check.api.by === "schema" && schema instanceof z.ZodString);
  const pieces = [
    "a",
    "B",
    "0",
    "x",
    "0x",
    "f",
    "g",
    ".",
    "..",
    "/",
    "//",
    "-",
    "_",
    "*",
    "*.",
    "%",
    "%2",
    "%2E",
    "%2f",
    "%7e",
    "%C3",
    "%20",
    "%41",
    "%5B",
    "?",
    "#",
    "\\",
    " ",
    "é",
    "~",
    "!",
    "1.2.3.4",
    "a".repeat(62),
    `${"b".repeat(63)}.`,
  ];
  const texts = fc.array(fc.constantFrom(...pieces), { maxLength: 8 }).map((parts) => parts.join(""));

  test("there are some", () => {
    expect(nodes.map(({ check }) => check.name).sort()).toEqual([
      "dns-name",
      "domain-pattern",
      "path-spelling",
      "path-spelling",
    ]);
  });

  test.each(nodes)("$check.name", ({ check, schema }) => {
    const form = toStructural(schema) as { pattern: string; maxLength: number; not: { pattern: string } };
    const byPattern = (text: string) =>
      text.length <= form.maxLength && new RegExp(form.pattern).test(text) && !new RegExp(form.not.pattern).test(text);
    const find = (check as unknown as Check<string>).find;
    fc.assert(
      fc.property(
        fc.oneof(
          texts,
          texts.map((text) => `/${text}`),
        ),
        (text) => {
          expect(byPattern(text)).toBe(find(text) === null && text.length <= form.maxLength);
        },
      ),
      { numRuns: runs(2000) },
    );
  });
});

test.each(POLICY_CASES.map((one) => ({ ...one, shown: one.text.slice(one.text.indexOf("spec:")).slice(0, 120) })))(
  "$check: $becomes: $shown",
  ({ text, becomes }) => {
    const errors = loadDocuments([{ path: "f", text }]).problems.filter(({ severity }) => severity === "error");
    expect(errors.map(({ message }) => message).length > 0).toBe(becomes !== "accepted");
  },
);
