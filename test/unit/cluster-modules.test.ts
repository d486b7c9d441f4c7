import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const modules = join(import.meta.dirname, "../cluster/modules");

/** Versions by module; what is replaced, by what it is replaced with. */
function requirements(text: string): Map<string, string> {
  const versions = new Map<string, string>();
  for (const [, module = "", version = ""] of text.matchAll(
    /^(?:require )?\s*([\w.-]+\.[\w.-]+\/\S+|\S+\.\S+) (v\S+)/gm,
  ))
    versions.set(module, version);
  for (const [, module = "", version = ""] of text.matchAll(/^(?:replace )?\s*(\S+) => \S+ (v\S+)/gm))
    versions.set(module, version);
  return versions;
}

test("the Go modules of the test cluster share the versions of what they share: it is then compiled once", () => {
  const found = new Map<string, Map<string, string[]>>();
  for (const name of readdirSync(modules)) {
    for (const [module, version] of requirements(readFileSync(join(modules, name, "go.mod"), "utf8"))) {
      const versions = found.get(module) ?? new Map<string, string[]>();
      found.set(module, versions.set(version, [...(versions.get(version) ?? []), name]));
    }
  }
  expect(found.size).toBeGreaterThan(200);
  const different = [...found].filter(([, versions]) => versions.size > 1);
  expect(different.map(([module, versions]) => [module, ...versions])).toEqual([]);
});
