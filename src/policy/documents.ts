import type * as z from "zod";
import type { AgentConfig } from "../model/config.ts";
import { type DestinationGroup, type Policy, policyRef } from "../model/policy.ts";
import { oneLine, type Path, shown } from "./check.ts";
import { toConfig, toGroup, toPolicy } from "./convert.ts";
import { nearest } from "./nearest.ts";
import type { Problem, ProblemCode } from "./problem.ts";
import { API_VERSION, isKind, KIND_CHOICE, KIND_NAMES, KINDS, type Kind } from "./schema.ts";
import { validate } from "./validate.ts";
import { type Located, warnAbout } from "./warnings.ts";
import { readYaml, type SourceDocument, type SourceProblem } from "./yaml-source.ts";

export type { Problem } from "./problem.ts";

export interface DocumentFile {
  /** As it shall stand in messages. */
  readonly path: string;
  readonly text: string;
  /** What keeps the bytes of the file from being a text, if something does. */
  readonly problem?: SourceProblem;
}

/** Empty lists if nothing is wrong; if one problem is an error, what was loaded must not replace what runs. */
export interface LoadedDocuments {
  readonly policies: readonly Policy[];
  readonly groups: readonly DestinationGroup[];
  readonly configs: readonly AgentConfig[];
  readonly problems: readonly Problem[];
}

const MAX_PROBLEMS = 1000;

/**
 * Reads Sallyport documents from YAML or JSON texts: several documents a file, `List`s of them too. All problems at once, in order of
 * file and line; never throws. Documents with an error are left out of the lists.
 */
export function loadDocuments(files: readonly DocumentFile[]): LoadedDocuments {
  const loader = new Loader();
  for (const { path, text, problem } of files) {
    const { documents, problems } = problem === undefined ? readYaml(text) : { documents: [], problems: [problem] };
    for (const problem of problems) loader.report(path, problem, "error", "Unreadable", problem.message);
    for (const document of documents) loader.document(path, document);
  }
  return loader.finish(files.map(({ path }) => path));
}

export function hasErrors(problems: readonly Problem[]): boolean {
  return problems.some(({ severity }) => severity === "error");
}

/** One object of a document: the document itself, or an item of its list. */
interface Entry {
  readonly file: string;
  readonly source: SourceDocument;
  readonly path: Path;
  readonly value: unknown;
}

class Loader {
  private readonly policies: Located<Policy>[] = [];
  private readonly groups: Located<DestinationGroup>[] = [];
  private readonly configs: Located<AgentConfig>[] = [];
  private readonly problems: Problem[] = [];
  private readonly places = new Map<string, string>();
  private dropped = 0;
  /** Pods and namespaces: they may lie in the same folder. */
  private readonly foreign: Entry[] = [];
  /** Some object is of a kind of Sallyport's. */
  private known = false;

  document(file: string, source: SourceDocument): void {
    const { value } = source;
    const list = isRecord(value) && value.kind === "List" && value.apiVersion === "v1" && Array.isArray(value.items);
    if (list) {
      const [first] = value.items as unknown[];
      if (isWorkload(first) && (value.items as unknown[]).every(isWorkload)) {
        this.foreign.push({ file, source, path: ["items", 0], value: first });
        return;
      }
      for (const [index, item] of (value.items as unknown[]).entries()) {
        this.entry({ file, source, path: ["items", index], value: item });
      }
    } else this.entry({ file, source, path: [], value });
  }

  report(
    file: string,
    place: { readonly line: number; readonly column: number },
    severity: Problem["severity"],
    code: ProblemCode,
    message: string,
  ): void {
    if (this.problems.length >= MAX_PROBLEMS) this.dropped += 1;
    else
      this.problems.push({
        severity,
        code,
        file,
        line: place.line,
        column: place.column,
        message: oneLine(message, 1000),
      });
  }

  private error(entry: Entry, code: ProblemCode, message: string, path: Path, where: "key" | "value" = "value"): void {
    this.report(entry.file, entry.source.locate([...entry.path, ...path], where), "error", code, message);
  }

  private entry(entry: Entry): void {
    if (isWorkload(entry.value)) {
      this.foreign.push(entry);
      return;
    }
    // `sallyport test` checks them.
    if (isRecord(entry.value) && entry.value.kind === "EgressTest" && entry.value.apiVersion === API_VERSION) return;
    const kind = this.kindOf(entry);
    if (kind === null) return;
    this.known = true;
    this.checkDuplicate(entry, kind);
    const located = <T>(value: T): Located<T> => ({
      value,
      file: entry.file,
      locate: (path, where) => entry.source.locate([...entry.path, ...path], where),
    });
    switch (kind) {
      case "ClusterEgressPolicy":
      case "EgressPolicy": {
        const text = this.validated(entry, KINDS[kind]);
        if (text !== null) this.policies.push(located(toPolicy(text)));
        return;
      }
      case "DestinationGroup": {
        const text = this.validated(entry, KINDS[kind]);
        if (text !== null) this.groups.push(located(toGroup(text.metadata.name, text.spec)));
        return;
      }
      case "AgentConfig": {
        const text = this.validated(entry, KINDS[kind]);
        if (text !== null) this.configs.push(located(toConfig(text.spec)));
      }
    }
  }

  private kindOf(entry: Entry): Kind | null {
    const { value } = entry;
    if (!isRecord(value)) {
      this.error(
        entry,
        "UnknownKind",
        `a document must be a map with \`apiVersion\` and \`kind\`, not ${shown(value)}`,
        [],
      );
      return null;
    }
    const { apiVersion, kind } = value;
    if (kind === undefined) {
      this.error(entry, "UnknownKind", `\`kind\` is missing: give it ${KIND_CHOICE}`, []);
    } else if (!isKind(kind)) {
      const meant = typeof kind === "string" ? nearest(kind, KIND_NAMES) : null;
      const right = meant === null ? `Sallyport reads ${KIND_CHOICE}` : `did you mean \`${meant}\`?`;
      this.error(entry, "UnknownKind", `unknown kind ${shown(kind)}: ${right}`, ["kind"]);
    } else if (apiVersion !== API_VERSION) {
      const what = apiVersion === undefined ? "`apiVersion` is missing" : `unknown apiVersion ${shown(apiVersion)}`;
      this.error(entry, "UnknownKind", `${what}: write \`apiVersion: ${API_VERSION}\``, ["apiVersion"]);
    } else return kind;
    return null;
  }

  private validated<S extends z.ZodType>(entry: Entry, schema: S): z.output<S> | null {
    const result = validate(schema, entry.value);
    if (result.ok) return result.value;
    for (const { code, message, path, where } of result.violations) this.error(entry, code, message, path, where);
    return null;
  }

  private checkDuplicate(entry: Entry, kind: Kind): void {
    const { metadata } = entry.value as Record<string, unknown>;
    if (!isRecord(metadata) || typeof metadata.name !== "string") return;
    const namespace = kind === "EgressPolicy" && typeof metadata.namespace === "string" ? metadata.namespace : null;
    const named = policyRef({ kind: kind as Policy["kind"], name: metadata.name, namespace });
    // Which of two configurations would hold is not for chance to say.
    const key = kind === "AgentConfig" ? kind : named;
    const path = ["metadata", "name"];
    const first = this.places.get(key);
    if (first === undefined) {
      const { line, column } = entry.source.locate([...entry.path, ...path], "value");
      this.places.set(key, `${entry.file}:${line}:${column}`);
    } else if (kind === "AgentConfig") {
      this.error(entry, "Duplicate", `a second AgentConfig, ${shown(named)}: the first is at ${first}; keep one`, path);
    } else this.error(entry, "Duplicate", `${shown(named)} is already at ${first}: rename or remove one`, path);
  }

  /** Among policies a warning, once a document. Alone they are the wrong file, and an agent would run without policies. */
  private reportForeign(): void {
    for (const entry of this.foreign) {
      if (!this.known) this.kindOf(entry);
      else {
        const message = "pods and namespaces are no policies, so they are left out: name their file with `--workloads`";
        this.report(entry.file, entry.source.locate([...entry.path, "kind"], "value"), "warning", "LeftOut", message);
      }
    }
  }

  finish(files: readonly string[]): LoadedDocuments {
    this.reportForeign();
    for (const warning of warnAbout({ policies: this.policies, groups: this.groups, configs: this.configs })) {
      this.report(warning.file, warning, "warning", warning.code, warning.message);
    }
    const order = new Map(files.map((file, index) => [file, index]));
    const problems = this.problems.toSorted(
      (a, b) => order.get(a.file)! - order.get(b.file)! || a.line - b.line || a.column - b.column,
    );
    if (this.dropped > 0) {
      const message = `${this.dropped} more problems are not shown: mend these first`;
      problems.push({ severity: "error", code: "TooMany", file: files[0] ?? "", line: 1, column: 1, message });
    }
    const values = <T>(located: readonly Located<T>[]) => located.map(({ value }) => value);
    return { policies: values(this.policies), groups: values(this.groups), configs: values(this.configs), problems };
  }
}

function isWorkload(value: unknown): boolean {
  return isRecord(value) && value.apiVersion === "v1" && (value.kind === "Pod" || value.kind === "Namespace");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
