import type { Path } from "./check.ts";
import { copyOf, PackedPolicy, type PolicyPacking } from "./packed-policy.ts";
import { type ReadObject, readObjects } from "./reading.ts";
import { readSource, type Span } from "./source.ts";
import { type Position, readYaml, type SourceDocument, type SourceProblem } from "./yaml-source.ts";

/** One document of a file: what it says, and how to find where it says so. */
export interface ReadDocument {
  readonly objects: readonly ReadObject[];
  /** Where its text lies in the file's. Null: it was read with the whole file. */
  readonly span: Span | null;
  readonly size: number;
  /** Lines of the file above its text. */
  readonly above: number;
}

/** What one file says, whatever stands in others. Trees with positions are not kept: they are ten times the text. */
export interface FileReading {
  readonly file: SourceFile;
  readonly problems: readonly SourceProblem[];
  readonly documents: readonly ReadDocument[];
}

interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly problem?: SourceProblem;
}

/** Reads a file; what has the same text in `before` is taken from there. `packing`: policies are packed, with this. */
export function readFile(
  file: SourceFile,
  before: FileReading | null,
  packing: PolicyPacking | null = null,
): FileReading {
  if (before !== null && before.file === file) return before;
  if (file.problem !== undefined) return { file, problems: [file.problem], documents: [] };
  packing?.rules.next();
  const { text } = file;
  if (before !== null && before.file.problem === undefined && before.file.text === text) return before;
  const known = knownTexts(before);
  const source = readSource(text, (part) => known.get(part)?.size ?? null);
  const documents = source.documents.map(({ content, span, size, above }): ReadDocument => {
    const read = content.known ? known.get(textOf(text, span))!.objects : readObjects(content.value);
    return {
      objects: content.known || packing === null ? read : read.map((one) => pack(one, packing)),
      span,
      size,
      above,
    };
  });
  return { file, problems: source.problems, documents };
}

function textOf(text: string, span: Span | null): string {
  return span === null ? text : text.slice(span.start, span.end);
}

/** The documents of a reading that were read by themselves, by their text. */
function knownTexts(before: FileReading | null): Map<string, ReadDocument> {
  const known = new Map<string, ReadDocument>();
  if (before === null || before.documents.every(({ span }) => span === null)) return known;
  const { text } = before.file;
  for (const document of before.documents) {
    if (document.span !== null) known.set(textOf(text, document.span), document);
  }
  return known;
}

/** The same, without a part of the file's text in it. */
function pack(object: ReadObject, packing: PolicyPacking): ReadObject {
  const { content } = object;
  if (content?.type === "policy") {
    return { ...object, content: { type: "policy", value: new PackedPolicy(content.value, packing) } };
  }
  if (content?.type === "standard" && content.value !== null) {
    return { ...object, content: { ...content, value: new PackedPolicy(content.value, packing) } };
  }
  return content?.type === "group" ? { ...object, content: { type: "group", value: copyOf(content.value) } } : object;
}

/** Where things stand. Read once more for that, with positions; kept for as long as this object is. */
export class Places {
  readonly #read = new Map<ReadDocument | FileReading, readonly SourceDocument[]>();

  /** Of the value at `path` in a document, or of its key. */
  locate(file: FileReading, document: ReadDocument, path: Path, where: "key" | "value"): Position {
    const alone = document.span !== null;
    const key = alone ? document : file;
    let documents = this.#read.get(key);
    if (documents === undefined) {
      documents = readYaml(textOf(file.file.text, document.span)).documents;
      this.#read.set(key, documents);
    }
    const at = documents[alone ? 0 : file.documents.indexOf(document)]?.locate(path, where) ?? { line: 1, column: 1 };
    return { line: at.line + document.above, column: at.column };
  }
}
