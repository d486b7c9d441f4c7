import type { Path } from "./check.ts";
import { type ReadObject, readObjects } from "./reading.ts";
import { readSource } from "./source.ts";
import { type Position, readYaml, type SourceDocument, type SourceProblem } from "./yaml-source.ts";

/** One document of a file: what it says, and how to find where it says so. */
export interface ReadDocument {
  readonly objects: readonly ReadObject[];
  /** Null: it was read with the whole file. */
  readonly text: string | null;
  readonly size: number;
  /** Lines of the file above `text`. */
  readonly above: number;
}

/** What one file says, whatever stands in others. Trees with positions are not kept: they are ten times the text. */
export interface FileReading {
  readonly path: string;
  readonly text: string;
  readonly problem: SourceProblem | null;
  readonly problems: readonly SourceProblem[];
  readonly documents: readonly ReadDocument[];
}

interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly problem?: SourceProblem;
}

/** Reads a file; what has the same text in `before` is taken from there. */
export function readFile({ path, text, problem }: SourceFile, before: FileReading | null): FileReading {
  if (problem !== undefined) return { path, text, problem, problems: [problem], documents: [] };
  if (before !== null && before.problem === null && before.path === path && before.text === text) return before;
  const known = new Map<string, ReadDocument>();
  for (const document of before?.documents ?? []) {
    if (document.text !== null) known.set(document.text, document);
  }
  const source = readSource(text, (part) => known.get(part)?.size ?? null);
  const documents = source.documents.map(
    ({ content, text: part, size, above }): ReadDocument => ({
      objects: content.known ? known.get(part!)!.objects : readObjects(content.value),
      text: part,
      size,
      above,
    }),
  );
  return { path, text, problem: null, problems: source.problems, documents };
}

/** Where things stand. Read once more for that, with positions; kept for as long as this object is. */
export class Places {
  readonly #read = new Map<ReadDocument | FileReading, readonly SourceDocument[]>();

  /** Of the value at `path` in a document, or of its key. */
  locate(file: FileReading, document: ReadDocument, path: Path, where: "key" | "value"): Position {
    const alone = document.text !== null;
    const key = alone ? document : file;
    let documents = this.#read.get(key);
    if (documents === undefined) {
      documents = readYaml(document.text ?? file.text).documents;
      this.#read.set(key, documents);
    }
    const at = documents[alone ? 0 : file.documents.indexOf(document)]?.locate(path, where) ?? { line: 1, column: 1 };
    return { line: at.line + document.above, column: at.column };
  }
}
