import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseAllDocuments,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { oneLine, type Path, shown } from "./check.ts";

/** Both count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface SourceProblem extends Position {
  readonly message: string;
}

export interface SourceDocument {
  /** Plain objects, arrays and scalars. Aliases share their object; nothing is cyclic. */
  readonly value: unknown;
  /** Where the value at `path` stands, or its key; where there is none, the nearest thing around it. */
  locate(path: Path, what: "key" | "value"): Position;
}

export const MAX_SOURCE_LENGTH = 16 * 1024 * 1024;
/** Values in one file once every alias is written out: bounds the work that a few lines of aliases can make. */
export const MAX_VALUES = 2_000_000;
const MAX_DEPTH = 64;
const MAX_PROBLEMS = 1000;
/** The first breaks the rest of a document: more of them say nothing new. */
const MAX_SYNTAX_PROBLEMS = 5;

/** Reads YAML (or JSON, which is YAML) of any number of documents. Never throws. Documents with a problem are left out. */
export function readYaml(text: string): { documents: SourceDocument[]; problems: SourceProblem[] } {
  if (text.length > MAX_SOURCE_LENGTH) {
    const message = `the file is larger than ${MAX_SOURCE_LENGTH / 1024 / 1024} MiB: split it`;
    return { documents: [], problems: [{ line: 1, column: 1, message }] };
  }
  // A file that is being written, or could not be: taken as it is, it would take its policies away.
  if (text.trim() === "") {
    const message = "the file is empty: write a document, or remove the file";
    return { documents: [], problems: [{ line: 1, column: 1, message }] };
  }
  const lines = new LineCounter();
  const documents: SourceDocument[] = [];
  const problems: SourceProblem[] = [];
  try {
    // Duplicate keys are found below, in linear time.
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: false,
      strict: true,
    });
    const budget = { values: MAX_VALUES };
    for (const document of parsed) {
      const reader = new Reader(document, lines, budget);
      const read = reader.read();
      for (const problem of reader.problems) problems.push(problem);
      if (problems.length >= MAX_PROBLEMS) break;
      if (read !== null && reader.problems.length === 0) documents.push(read);
    }
  } catch (error) {
    problems.push({ line: 1, column: 1, message: unreadable(error instanceof Error ? error.message : String(error)) });
  }
  return { documents, problems };
}

/** Deep nesting is met as an overflow of the stack, somewhere in the YAML reader or its regular expressions. */
function unreadable(why: string): string {
  if (/stack/i.test(why)) return `nested more than ${MAX_DEPTH} deep`;
  return `not readable as YAML: ${oneLine(why.split("\n")[0]!, 200)}`;
}

interface Converted {
  readonly value: unknown;
  /** Values in it, aliases written out. */
  readonly size: number;
}

class Reader {
  readonly problems: SourceProblem[] = [];
  private readonly document: Document.Parsed;
  private readonly lines: LineCounter;
  private readonly budget: { values: number };
  private readonly anchors = new Map<string, Node>();
  private readonly targets = new Map<Node, Node>();
  private readonly known = new Map<Node, Converted>();

  constructor(document: Document.Parsed, lines: LineCounter, budget: { values: number }) {
    this.document = document;
    this.lines = lines;
    this.budget = budget;
  }

  /** Null: nothing in it, or a problem. */
  read(): SourceDocument | null {
    for (const { pos, message } of [...this.document.errors, ...this.document.warnings]) {
      if (this.problems.length === MAX_SYNTAX_PROBLEMS) break;
      const problem = { ...this.positionAt(pos[0]), message: unreadable(message) };
      const last = this.problems.at(-1);
      if (last?.line !== problem.line || last.message !== problem.message) this.problems.push(problem);
    }
    const root = this.document.contents;
    if (this.problems.length > 0 || root === null || (isScalar(root) && root.value === null)) return null;
    const { value } = this.convert(root, 0);
    return { value, locate: (path, what) => this.locate(path, what) };
  }

  private problem(node: Node | null, message: string): Converted {
    if (this.problems.length < MAX_PROBLEMS) this.problems.push({ ...this.positionAt(node?.range?.[0] ?? 0), message });
    return { value: null, size: 1 };
  }

  private convert(node: Node | null, depth: number): Converted {
    if (node === null) return { value: null, size: 1 };
    if (depth > MAX_DEPTH) return this.problem(node, `nested more than ${MAX_DEPTH} deep`);
    if (isAlias(node)) return this.alias(node);
    if ("anchor" in node && typeof node.anchor === "string") this.anchors.set(node.anchor, node);
    let converted: Converted = { value: isScalar(node) ? plain(node.value) : null, size: 1 };
    if (isMap(node)) converted = this.map(node, depth);
    else if (isSeq(node)) converted = this.sequence(node, depth);
    if (--this.budget.values < 0) return this.tooMany(node);
    this.known.set(node, converted);
    return converted;
  }

  private tooMany(node: Node): Converted {
    if (this.problems.length > 0) return { value: null, size: 1 };
    return this.problem(node, `the file holds more than ${MAX_VALUES} values with its aliases written out: split it`);
  }

  private alias(node: Node & { readonly source: string }): Converted {
    if (this.budget.values < 0) return this.tooMany(node);
    const target = this.anchors.get(node.source);
    if (target === undefined) return this.problem(node, `the alias \`*${node.source}\` has no anchor above it`);
    const converted = this.known.get(target);
    if (converted === undefined) return this.problem(node, `the alias \`*${node.source}\` lies within its own anchor`);
    this.targets.set(node, target);
    this.budget.values -= converted.size;
    return this.budget.values < 0 ? this.tooMany(node) : converted;
  }

  private sequence(node: YAMLSeq, depth: number): Converted {
    const items = node.items.map((item) => this.convert(item as Node | null, depth + 1));
    return { value: items.map(({ value }) => value), size: items.reduce((sum, { size }) => sum + size, 1) };
  }

  private map(node: YAMLMap, depth: number): Converted {
    const value: Record<string, unknown> = {};
    let size = 1;
    for (const pair of node.items) {
      const key = keyOf(pair);
      const item = this.convert(pair.value as Node | null, depth + 1);
      size += item.size;
      if (key === null) this.problem(pair.key as Node | null, "a key must be plain text");
      else if (Object.hasOwn(value, key)) this.problem(pair.key as Node, `${shown(key)} is given twice: keep one`);
      // zod skips it, and a selector without its label would select everything.
      else if (key === "__proto__") this.problem(pair.key as Node, "`__proto__` names no field or label: take it out");
      else value[key] = item.value;
    }
    return { value, size };
  }

  private positionAt(offset: number): Position {
    const { line, col } = this.lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  private locate(path: Path, what: "key" | "value"): Position {
    let node: Node | null = this.document.contents;
    let offset = node?.range?.[0] ?? 0;
    for (const [index, step] of path.entries()) {
      while (node !== null && isAlias(node)) node = this.targets.get(node) ?? null;
      const last = index === path.length - 1;
      if (isMap(node)) {
        const pair = node.items.find((candidate) => keyOf(candidate) === step);
        if (pair === undefined) break;
        const key = (pair.key as Node).range?.[0] ?? offset;
        node = pair.value as Node | null;
        offset = (last && what === "key") || isEmpty(node) ? key : (node?.range?.[0] ?? key);
      } else if (isSeq(node) && typeof step === "number" && step < node.items.length) {
        node = node.items[step] as Node | null;
        offset = node?.range?.[0] ?? offset;
      } else break;
    }
    return this.positionAt(offset);
  }
}

function isEmpty(node: Node | null): boolean {
  return node === null || (isScalar(node) && node.value === null && (node.source ?? "") === "");
}

function keyOf(pair: Pair): string | null {
  const key = pair.key;
  return isScalar(key) && key.value !== null && typeof key.value !== "object" ? String(key.value) : null;
}

/** Scalars as JSON has them. */
function plain(value: unknown): unknown {
  return value === null || ["string", "number", "boolean"].includes(typeof value) ? value : String(value);
}
