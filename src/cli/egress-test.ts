import { dirname, isAbsolute, join } from "node:path";
import type { Action, Reason } from "../model/decision.ts";
import { choice, shown } from "../policy/check.ts";
import { nearest } from "../policy/nearest.ts";
import { validate } from "../policy/validate.ts";
import { readYaml, type SourceDocument } from "../policy/yaml-source.ts";
import { EgressTestDocument } from "./egress-test-schema.ts";

/** What a case expects; a field that is absent expects nothing. A policy or rule of null: none decided. */
export interface Expectation {
  readonly action: Action;
  readonly policy?: string | null | undefined;
  readonly rule?: string | null | undefined;
  readonly reason?: Reason | undefined;
}

export interface EgressTestCase {
  readonly name: string;
  /** `NAMESPACE/POD`. */
  readonly from: string;
  /** As `explain --to` takes it. */
  readonly to: string;
  /** As `explain --ip` takes it. */
  readonly ip: string | null;
  readonly expect: Expectation;
  readonly line: number;
}

/** One EgressTest document; its paths are resolved against the folder of its file. */
export interface EgressTest {
  readonly name: string;
  readonly file: string;
  readonly policies: readonly string[];
  readonly workloads: string;
  readonly config: string | null;
  readonly cases: readonly EgressTestCase[];
}

const GROUP = "sallyport.dev/";
const KIND = "EgressTest";
/** These may stand in the same folder; a kind that nobody knows is surely a typing mistake, and would never run. */
const OTHER_KINDS = ["ClusterEgressPolicy", "EgressPolicy", "DestinationGroup", "AgentConfig"];

/** All EgressTest documents of one file, and the problems of them as `file:line:column: message`. Never throws. */
export function readEgressTests(file: string, text: string): { tests: EgressTest[]; problems: string[] } {
  const { documents, problems } = readYaml(text);
  const tests: EgressTest[] = [];
  const found = [...problems];
  for (const document of documents) {
    const { value } = document;
    if (!isRecord(value) || typeof value.apiVersion !== "string" || !value.apiVersion.startsWith(GROUP)) continue;
    if (typeof value.kind === "string" && OTHER_KINDS.includes(value.kind)) continue;
    if (value.kind !== KIND) {
      found.push({ ...document.locate(["kind"], "value"), message: unknownKind(value.kind) });
      continue;
    }
    const result = validate(EgressTestDocument, withLongExpectations(value));
    if (result.ok) tests.push(egressTest(file, document, result.value));
    else
      found.push(
        ...result.violations.map(({ path, where, message }) => ({ ...document.locate(path, where), message })),
      );
  }
  found.sort((a, b) => a.line - b.line || a.column - b.column);
  return { tests, problems: found.map(({ line, column, message }) => `${file}:${line}:${column}: ${message}`) };
}

type Checked = ReturnType<typeof EgressTestDocument.parse>;

function egressTest(file: string, document: SourceDocument, { metadata, spec }: Checked): EgressTest {
  const at = (path: string) => (isAbsolute(path) ? path : join(dirname(file), path));
  return {
    name: metadata.name,
    file,
    policies: spec.policies.map(at),
    workloads: at(spec.workloads),
    config: spec.config === undefined ? null : at(spec.config),
    cases: spec.cases.map(({ name, from, to, ip, expect }, i) => ({
      name: name ?? `${from} to ${to}${ip === undefined ? "" : ` at ${ip}`}`,
      from,
      to,
      ip: ip ?? null,
      expect,
      line: document.locate(["spec", "cases", i], "value").line,
    })),
  };
}

/** `expect: Allow` is short for `expect: { action: Allow }`. */
function withLongExpectations(value: Record<string, unknown>): unknown {
  const { spec } = value;
  if (!isRecord(spec) || !Array.isArray(spec.cases)) return value;
  const cases = spec.cases.map((one: unknown) =>
    isRecord(one) && typeof one.expect === "string" ? { ...one, expect: { action: one.expect } } : one,
  );
  return { ...value, spec: { ...spec, cases } };
}

function unknownKind(kind: unknown): string {
  const near = typeof kind === "string" ? nearest(kind, [KIND, ...OTHER_KINDS]) : null;
  return `kind ${shown(kind ?? "")} is not known: ${near === null ? `use ${choice([KIND])}` : `did you mean \`${near}\`?`}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
