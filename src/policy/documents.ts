import type { AgentConfig } from "../model/config.ts";
import type { DestinationGroup, Policy, StandardKind } from "../model/policy.ts";
import { oneLine, shown } from "./check.ts";
import { type FileReading, Places, type ReadDocument, readFile } from "./file-reading.ts";
import { PackedPolicy, type PolicyPacking, Subjects } from "./packed-policy.ts";
import { type TextPacker, TextPacking } from "./packed-texts.ts";
import type { Problem, ProblemCode } from "./problem.ts";
import type { ReadObject } from "./reading.ts";
import { RulesAtHand } from "./rules-at-hand.ts";
import { type Located, warnAbout } from "./warnings.ts";
import type { Position, SourceProblem } from "./yaml-source.ts";

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
  /** Standard policies are among them where a configuration lists their kind. */
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
  return new DocumentReader(true).load(files);
}

/** Reads documents again and again: what has the text it had before costs nothing, and what is made of it is the same object. */
export class DocumentReader {
  readonly #warnings: boolean;
  readonly #packing: Omit<PolicyPacking, "subjects"> | null;
  #files = new Map<string, FileReading>();

  /**
   * `warnings`: whether problems that are no errors are looked for as well. `packer`: policies are to take
   * little memory, and time when their rules are asked for.
   */
  constructor(warnings: boolean, packer: TextPacker | null = null) {
    this.#warnings = warnings;
    this.#packing = packer === null ? null : { rules: new TextPacking(packer), atHand: new RulesAtHand() };
  }

  /**
   * As `loadDocuments`. Keeps the files: their `text` may be made when it is asked for. `sources`: the standard policies to be read; null:
   * those that the AgentConfig among the documents lists.
   */
  load(files: readonly DocumentFile[], sources: readonly StandardKind[] | null = null): LoadedDocuments {
    const packing = this.#packing === null ? null : { ...this.#packing, subjects: new Subjects() };
    packing?.atHand.changed();
    const readings = files.map((file) => readFile(file, this.#files.get(file.path) ?? null, packing));
    this.#files = new Map(readings.map((reading) => [reading.file.path, reading]));
    const assembly = new Assembly(this.#warnings);
    for (const reading of readings) assembly.file(reading);
    return assembly.finish(
      files.map(({ path }) => path),
      sources,
    );
  }
}

/** Lets policies of a reader with a packer take as little memory as they can. */
export function putAway(policies: readonly Policy[]): void {
  for (const policy of policies) if (policy instanceof PackedPolicy) policy.putAway();
}

export function hasErrors(problems: readonly Problem[]): boolean {
  return problems.some(({ severity }) => severity === "error");
}

interface Entry {
  readonly file: FileReading;
  readonly document: ReadDocument;
  readonly object: ReadObject;
}

/** What only all files together can tell. */
class Assembly {
  readonly #warnings: boolean;
  readonly #policies: Located<Policy>[] = [];
  readonly #groups: Located<DestinationGroup>[] = [];
  readonly #configs: Located<AgentConfig>[] = [];
  readonly #problems: Problem[] = [];
  readonly #named = new Map<string, Entry>();
  readonly #foreign: Entry[] = [];
  /** Standard policies, of which the AgentConfig says whether they are read. */
  readonly #standard: { readonly entry: Entry; readonly kind: StandardKind }[] = [];
  readonly #places = new Places();
  #dropped = 0;
  /** Some object is of a kind that Sallyport reads. */
  #known = false;

  constructor(warnings: boolean) {
    this.#warnings = warnings;
  }

  file(file: FileReading): void {
    for (const problem of file.problems) {
      this.#report(file.file.path, () => problem, "error", "Unreadable", problem.message);
    }
    for (const document of file.documents) {
      for (const object of document.objects) this.#object({ file, document, object });
    }
  }

  #object(entry: Entry): void {
    const { is, content } = entry.object;
    if (is === "foreign") return void this.#foreign.push(entry);
    this.#known ||= is !== "unknown";
    if (is !== "known" && is !== "unknown") return void this.#standard.push({ entry, kind: is });
    if (is === "known") this.#checkDuplicate(entry);
    this.#reportFaults(entry);
    if (content === null) return;
    const located = <T>(value: T): Located<T> => ({
      value,
      file: entry.file.file.path,
      locate: (path, where) => this.#locate(entry, path, where),
    });
    if (content.type === "policy") this.#policies.push(located(content.value));
    else if (content.type === "standard") return;
    else if (content.type === "group") this.#groups.push(located(content.value));
    else this.#configs.push(located(content.value));
  }

  /** `path` from the object's own root. */
  #locate({ file, document, object }: Entry, path: ReadObject["path"], where: "key" | "value"): Position {
    return this.#places.locate(file, document, [...object.path, ...path], where);
  }

  #report(
    file: string,
    place: () => Position,
    severity: Problem["severity"],
    code: ProblemCode,
    message: string,
  ): void {
    if (this.#problems.length >= MAX_PROBLEMS) {
      this.#dropped += 1;
      return;
    }
    const { line, column } = place();
    this.#problems.push({ severity, code, file, line, column, message: oneLine(message, 1000) });
  }

  #reportFaults({ file, document, object }: Entry): void {
    for (const { code, message, path, where } of object.faults) {
      this.#report(file.file.path, () => this.#places.locate(file, document, path, where), "error", code, message);
    }
  }

  #checkDuplicate(entry: Entry): void {
    const { name } = entry.object;
    if (name === null) return;
    const first = this.#named.get(name.key);
    if (first === undefined) return void this.#named.set(name.key, entry);
    const path = ["metadata", "name"];
    const place = () => this.#locate(entry, path, "value");
    // Beyond the last problem that is shown nobody asks where the first one stands.
    if (this.#problems.length >= MAX_PROBLEMS) {
      this.#dropped += 1;
      return;
    }
    const { line, column } = this.#locate(first, path, "value");
    const at = `${first.file.file.path}:${line}:${column}`;
    const message =
      name.key === "AgentConfig"
        ? `a second AgentConfig, ${shown(name.ref)}: the first is at ${at}; keep one`
        : `${shown(name.ref)} is already at ${at}: rename or remove one`;
    this.#report(entry.file.file.path, place, "error", "Duplicate", message);
  }

  /** Among policies a warning, once a document. Alone they are the wrong file, and an agent would run without policies. */
  #reportForeign(): void {
    for (const entry of this.#foreign) {
      if (!this.#known) this.#reportFaults(entry);
      else if (this.#warnings) {
        const message = "pods and namespaces are no policies, so they are left out: name their file with `--workloads`";
        this.#report(entry.file.file.path, () => this.#locate(entry, ["kind"], "value"), "warning", "LeftOut", message);
      }
    }
  }

  /** Those whose kind is not listed are left out, whatever they say. @returns the policies of the others */
  #takeStandard(sources: readonly StandardKind[]): Policy[] {
    const policies: Policy[] = [];
    for (const { entry, kind } of this.#standard) {
      const { content } = entry.object;
      if (sources.includes(kind)) {
        this.#checkDuplicate(entry);
        this.#reportFaults(entry);
        if (content?.type === "standard" && content.value !== null) policies.push(content.value);
      } else if (this.#warnings) {
        const message = `a ${kind} is not read, for \`sources\` of the AgentConfig does not list it: add \`${kind}\` there to enforce it`;
        this.#report(entry.file.file.path, () => this.#locate(entry, ["kind"], "value"), "warning", "LeftOut", message);
      }
    }
    return policies;
  }

  finish(files: readonly string[], sources: readonly StandardKind[] | null): LoadedDocuments {
    this.#reportForeign();
    const standard = this.#takeStandard(sources ?? this.#configs[0]?.value.sources ?? []);
    const all = { policies: this.#policies, groups: this.#groups, configs: this.#configs };
    for (const warning of this.#warnings ? warnAbout(all) : []) {
      this.#report(warning.file, () => warning, "warning", warning.code, warning.message);
    }
    const order = new Map(files.map((file, index) => [file, index]));
    const problems = this.#problems.toSorted(
      (a, b) => order.get(a.file)! - order.get(b.file)! || a.line - b.line || a.column - b.column,
    );
    if (this.#dropped > 0) {
      const message = `${this.#dropped} more problems are not shown: mend these first`;
      // Warnings, however many, keep nothing from running.
      const severity = hasErrors(problems) ? "error" : "warning";
      problems.push({ severity, code: "TooMany", file: files[0] ?? "", line: 1, column: 1, message });
    }
    const values = <T>(located: readonly Located<T>[]) => located.map(({ value }) => value);
    return {
      policies: [...values(all.policies), ...standard],
      groups: values(all.groups),
      configs: values(all.configs),
      problems,
    };
  }
}
