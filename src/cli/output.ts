import { styleText } from "node:util";

export const FORMATS = ["table", "json", "yaml"] as const;
export type Format = (typeof FORMATS)[number];

/** Prints a document as JSON or YAML, or the text that `table` makes for people. */
export async function printAs(format: Format, document: unknown, table: () => string): Promise<void> {
  if (format === "json") process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  else if (format === "yaml") process.stdout.write(await toYaml(document));
  else process.stdout.write(table());
}

export async function toYaml(document: unknown): Promise<string> {
  const { yamlText } = await import("./yaml-text.ts");
  return yamlText(document);
}

export type Paint = "allow" | "deny" | "quiet" | "strong" | "warn";
const STYLES = { allow: "green", deny: "red", quiet: "dim", strong: "bold", warn: "yellow" } as const;

/** Colours on a terminal only, and not with NO_COLOR (styleText asks the stream). */
export function paint(how: Paint, text: string): string {
  return styleText(STYLES[how], text, { stream: process.stdout });
}

export function paintAction(action: string, text: string = action): string {
  return paint(action === "Allow" ? "allow" : "deny", text);
}

/** Columns as wide as their widest cell, two spaces apart; the first row is the heading. */
export function table(
  rows: readonly (readonly string[])[],
  painted?: (cell: string, column: number) => string,
): string {
  const clean = rows.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of clean) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  const lines = clean.map((row, number) => {
    const cells = row.map((cell, i) => {
      const padded = i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0);
      if (number === 0) return paint("quiet", padded);
      return painted === undefined ? padded : padded.replace(cell, () => painted(cell, i));
    });
    return `${cells.join("  ").trimEnd()}\n`;
  });
  return lines.join("");
}

/**
 * Text from flows and documents, safe on a terminal: control characters (escape sequences, C1, bidirectional overrides)
 * are shown as escapes and do nothing.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
