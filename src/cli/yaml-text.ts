import { stringify } from "yaml";

/** A module of its own, so that only those who print YAML load its writer. */
export function yamlText(document: unknown): string {
  return stringify(document, { lineWidth: 0, aliasDuplicateObjects: false });
}
