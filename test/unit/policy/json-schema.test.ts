import { readdirSync, readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { sallyportJsonSchema } from "../../../src/policy/json-schema.ts";
import { clusterPolicy, problemsOf, withDestination } from "./documents-of.ts";

const examples = new URL("../../../examples/two-apps/", import.meta.url);
const stored = new URL("../../../schemas/sallyport.schema.json", import.meta.url);
const accepts = new Ajv2020({ strict: false }).compile(sallyportJsonSchema());

test("the stored schema is the one of the source", () => {
  // If this fails: make crds
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

test("no alternatives: an editor's message names the field that is wrong", () => {
  const text = JSON.stringify(sallyportJsonSchema().$defs);
  for (const word of ["anyOf", "oneOf", "allOf", "$ref"]) expect(text).not.toContain(word);
});
