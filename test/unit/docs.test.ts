import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { createProgram } from "../../src/cli/run.ts";
import { FIELD, RECORD_EVENTS } from "../../src/flow/record.ts";
import { REASONS } from "../../src/model/decision.ts";
import { loadDocuments } from "../../src/policy/documents.ts";
import { pagesOf, shownDocuments } from "../support/pages.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const pages = pagesOf(root);

describe("links", () => {
  test.each(pages)("of %s lead somewhere", (page) => {
    expect(linksOf(page).flatMap((link) => brokenLink(page, link))).toEqual([]);
  });
});

describe("what the code knows is written down", () => {
  test("every reason", () => {
    expect(unwritten(REASONS, "docs/guide/reasons.md")).toEqual([]);
  });

  test("every field of the documents", () => {
    const schema: unknown = JSON.parse(read("schemas/sallyport.schema.json"));
    const fields = [...fieldNames(schema)].filter((name) => !WRITTEN_BY_KUBERNETES.has(name));
    expect(unwritten(fields, "docs/guide/policies.md", "docs/guide/agent-config.md")).toEqual([]);
  });

  test("every command", async () => {
    const program = await createProgram(true);
    const names = program.commands.map((command) => command.name());
    expect(names.length).toBeGreaterThan(5);
    expect(names.filter((name) => !new RegExp(`^\\| \`${name}\\b`, "m").test(read("docs/guide/cli.md")))).toEqual([]);
  });

  test("every field and event of the flow log", () => {
    expect(unwritten([...Object.values(FIELD), ...RECORD_EVENTS], "docs/guide/flows.md")).toEqual([]);
  });
});

describe("documents shown in pages", () => {
  const shown = pages.flatMap((page) => shownDocuments(read(page)).map((text) => ({ page, text })));

  test("there are some", () => {
    expect(shown.length).toBeGreaterThan(5);
  });

  test.each(shown)("in $page are valid", ({ page, text }) => {
    expect(loadDocuments([{ path: page, text }]).problems).toEqual([]);
  });
});

/** Accepted in `metadata` and `status`, not read. */
const WRITTEN_BY_KUBERNETES = new Set([
  "annotations",
  "creationTimestamp",
  "deletionGracePeriodSeconds",
  "deletionTimestamp",
  "finalizers",
  "generateName",
  "generation",
  "managedFields",
  "ownerReferences",
  "resourceVersion",
  "selfLink",
  "status",
  "uid",
]);

function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** Targets of links and pictures; what stands in code is none. */
function linksOf(page: string): string[] {
  const prose = read(page)
    .replace(/```[\s\S]*?```/g, "")
    .replace(/`[^`\n]*`/g, "`code`");
  return [...prose.matchAll(/\]\(([^()\s]+)\)/g)].map(([, target = ""]) => target);
}

function brokenLink(page: string, link: string): string[] {
  if (/^[a-z]+:/.test(link)) return [];
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? page : relative(root, join(root, dirname(page), decodeURIComponent(path)));
  if (!existsSync(join(root, target))) return [`${link}: no such file`];
  if (anchor === undefined || !target.endsWith(".md") || anchorsOf(target).has(anchor)) return [];
  return [`${link}: no such heading`];
}

/** Headings as GitHub names them. */
function anchorsOf(page: string): Set<string> {
  const headings = read(page)
    .replace(/```[\s\S]*?```/g, "")
    .matchAll(/^#+ (.*)$/gm);
  const name = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .trim()
      .replaceAll(" ", "-");
  return new Set([...headings].map(([, heading = ""]) => name(heading)));
}

/** The words that stand as `code` in none of the pages. */
function unwritten(words: readonly string[], ...inPages: readonly string[]): string[] {
  const text = inPages.map(read).join("\n");
  const code = [...text.matchAll(/```[\s\S]*?```|`[^`\n]*`/g)].map(([part]) => part).join("\n");
  return words.filter((word) => !new RegExp(`(?<![\\w-])${word}(?![\\w-])`).test(code));
}

/** Names of fields anywhere in a JSON Schema. */
function fieldNames(schema: unknown, found = new Set<string>()): Set<string> {
  if (typeof schema !== "object" || schema === null) return found;
  const { properties } = schema as { properties?: Record<string, unknown> };
  if (properties !== undefined && !Array.isArray(properties))
    for (const name of Object.keys(properties)) found.add(name);
  for (const child of Object.values(schema)) fieldNames(child, found);
  return found;
}
