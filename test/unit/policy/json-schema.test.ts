import { readdirSync, readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import * as z from "zod";
import { CHECKS } from "../../../src/policy/check.ts";
import { sallyportJsonSchema } from "../../../src/policy/json-schema.ts";
import { KINDS } from "../../../src/policy/schema.ts";
import { clusterPolicy, problemsOf, withDestination } from "./documents-of.ts";

const examples = new URL("../../../examples/two-apps/", import.meta.url);
const stored = new URL("../../../schemas/sallyport.schema.json", import.meta.url);
const accepts = new Ajv2020({ strict: false }).compile(sallyportJsonSchema());

test("the stored schema is the one of the source", () => {
  // If this fails: node scripts/generate-schemas.ts
  expect(JSON.parse(readFileSync(stored, "utf8"))).toEqual(sallyportJsonSchema());
});

test("the examples are valid", () => {
  const policies = readdirSync(new URL("policies/", examples)).map((name) => `policies/${name}`);
  for (const path of [...policies, "tests/agent-config.yaml"]) {
    expect(accepts(parse(readFileSync(new URL(path, examples), "utf8"))), path).toBe(true);
  }
});

describe("what editors flag is what `validate` refuses", () => {
  test.each([
    [withDestination("{}"), true],
    [withDestination("{ domains: ['*.a.example', '*', _dmarc.example], ports: [{ protocol: Any }] }"), true],
    [withDestination("{ domain: [a.example] }"), false],
    [withDestination("{ domains: [A.example] }"), false],
    [withDestination("{ domains: [a.example.] }"), false],
    [withDestination("{ domains: ['a*.example'] }"), false],
    [withDestination("{ domains: [] }"), false],
    [withDestination("{ ports: [{ port: 0 }] }"), false],
    [withDestination("{ ports: [{ protocol: tcp }] }"), false],
    [withDestination("{ http: { methods: [get] } }"), false],
    [withDestination("{ cidrs: [10.0.0.0] }"), false],
    [clusterPolicy("  tier: Admin"), false],
    [clusterPolicy("  tier: Admin\n  defaultDeny: true\n  priority: 1001"), false],
  ])("%s", (text, valid) => {
    expect(accepts(parse(text))).toBe(valid);
    expect(problemsOf(text).some((problem) => !problem.includes("warning: "))).toBe(!valid);
  });
});

test("the schema stays structural: no alternatives, every check has a name of its own", () => {
  const text = JSON.stringify(sallyportJsonSchema().$defs);
  for (const word of ["anyOf", "oneOf", "allOf", "$ref", '"not"']) expect(text).not.toContain(word);
  const names = new Set<string>();
  const visit = (schema: z.core.$ZodType): void => {
    for (const { name, cel } of CHECKS.get(schema)?.checks ?? []) {
      names.add(name);
      if (cel !== null) expect(cel).not.toBe("");
    }
    if (schema instanceof z.ZodObject) for (const child of Object.values<z.core.$ZodType>(schema.shape)) visit(child);
    else if (schema instanceof z.ZodArray) visit(schema.element);
    else if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault)
      visit(schema.unwrap());
  };
  for (const schema of Object.values(KINDS)) visit(schema);
  expect([...names].sort()).toMatchInlineSnapshot(`
    [
      "address",
      "cidr",
      "dns-name",
      "domain-pattern",
      "encrypted-client-hello-on-allow",
      "end-port",
      "except-inside-cidrs",
      "group-not-empty",
      "http-without-tls",
      "mark-mask",
      "one-kind-of-path",
      "path-spelling",
      "port-with-protocol",
      "unique-rule-names",
      "values-with-operator",
      "when-hidden-on-deny",
    ]
  `);
});
