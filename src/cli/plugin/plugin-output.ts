import { FORMATS, type Format, printAs } from "../output.ts";

export const PLUGIN_FORMATS = [...FORMATS, "wide"] as const;
export type PluginFormat = Format | "wide";

/** As `printAs`; `wide` is a table that leaves nothing out. */
export function printPlugin(format: PluginFormat, document: unknown, table: () => string): Promise<void> {
  return printAs(format === "wide" ? "table" : format, document, table);
}
