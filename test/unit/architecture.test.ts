import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const src = join(root, "src");

/**
 * The allowed imports between the folders of src/. Each may also import what its imports import, and `net` and `model`.
 * A folder that is listed but not there yet is room for a later part.
 */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  net: [],
  model: ["net"],
  policy: ["model"],
  program: ["model"],
  decide: ["program"],
  packet: ["net"],
  names: ["model"],
  flow: ["model"],
  inspector: ["decide", "names", "packet", "flow"],
  advice: ["decide", "flow", "policy"],
  kernel: ["packet"],
  workloads: ["model"],
  kube: ["net"],
  nri: ["net"],
  history: ["flow"],
  agent: ["policy", "inspector", "advice", "kernel", "workloads", "kube", "nri", "history"],
  controller: ["agent"],
  api: ["controller"],
  lab: ["kernel"],
  cli: ["api", "lab"],
};

/** These run anywhere, also in a browser: no I/O, no `node:`. */
const PURE = ["net", "model", "policy", "program", "decide", "packet", "names", "flow", "inspector", "advice"];

/** Where a package may be imported: a folder with all below it, or one file. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  commander: ["cli/", "lab/command.ts"],
  koffi: ["kernel/"],
  pino: ["agent/"],
  "prom-client": ["agent/", "controller/"],
  re2js: ["policy/", "program/"],
  tr46: ["net/idna.ts"],
  yaml: ["policy/", "workloads/", "kube/", "lab/", "cli/"],
  zod: ["policy/", "cli/egress-test-schema.ts"],
};

const MOST_LINES = 400;
const files = sourceFiles(src).map((path) => ({
  path: relative(src, path),
  imports: importsOf(readFileSync(path, "utf8")),
}));

describe("imports", () => {
  test("folders import along the arrows only", () => {
    expect(violations((file, specifier) => folderProblem(file, specifier))).toEqual([]);
  });

  test("pure folders import nothing of Node", () => {
    const isNode = (file: string, specifier: string) =>
      PURE.includes(folderOf(file)) && specifier.startsWith("node:") ? `imports \`${specifier}\`` : null;
    expect(violations(isNode)).toEqual([]);
  });

  test("packages are imported where they belong only", () => {
    expect(violations((file, specifier) => packageProblem(file, specifier))).toEqual([]);
  });

  test("imports name a literal", () => {
    expect(
      violations((_, specifier) => (specifier === "?" ? "imports something that is not a string literal" : null)),
    ).toEqual([]);
  });

  test("the scanner sees every way to import", () => {
    const text = [
      'import { a } from "./a.ts";',
      "import type {\n  B,\n  C,\n} from './b.ts';",
      'import "./c.ts";',
      'export { d } from "./d.ts";',
      'export * from "./e.ts";',
      'export type { F } from "./f.ts";',
      'const g = await import("./g.ts");',
      'type H = import("./h.ts").H;',
      'const i = new Worker(new URL("./i.ts", import.meta.url));',
      "const j = await import(name);",
      '// import { no } from "./comment.ts";',
      'export const text = "say from";',
    ].join("\n");
    expect(importsOf(text).sort()).toEqual([...Array.from("abcdefghi", (name) => `./${name}.ts`), "?"]);
  });
});

describe("folders and files", () => {
  test("every folder of src/ has its arrows", () => {
    const folders = readdirSync(src).filter((name) => statSync(join(src, name)).isDirectory());
    expect(folders.filter((name) => !(name in ARROWS))).toEqual([]);
  });

  test("no folder for odds and ends", () => {
    const odd = /(^|\/)(utils?|helpers?|common|types|misc|shared)(\/|\.ts$)/;
    expect(files.map((file) => file.path).filter((path) => odd.test(path))).toEqual([]);
  });

  test(`no source file has more than ${MOST_LINES} lines`, () => {
    const long = files
      .map(({ path }) => ({ path, lines: readFileSync(join(src, path), "utf8").split("\n").length - 1 }))
      .filter(({ lines }) => lines > MOST_LINES);
    expect(long).toEqual([]);
  });
});

function violations(problemOf: (file: string, specifier: string) => string | null): string[] {
  return files.flatMap(({ path, imports }) =>
    imports
      .map((specifier) => problemOf(path, specifier))
      .flatMap((problem) => (problem === null ? [] : [`src/${path} ${problem}`])),
  );
}

function folderProblem(file: string, specifier: string): string | null {
  if (!specifier.startsWith(".")) return null;
  if (!specifier.endsWith(".ts")) return `imports \`${specifier}\`, which does not end in \`.ts\``;
  const target = relative(src, join(src, dirname(file), specifier));
  const [from, to] = [folderOf(file), folderOf(target)];
  if (from === to || reachable(from).has(to)) return null;
  return `imports \`${specifier}\`: no arrow from ${from}/ to ${to}/`;
}

function packageProblem(file: string, specifier: string): string | null {
  if (specifier.startsWith(".") || specifier.startsWith("node:") || specifier === "?") return null;
  const name = specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
  const places = PACKAGES[name];
  if (places === undefined) return `imports \`${name}\`, which has no place in PACKAGES`;
  const fits = places.some((place) => (place.endsWith("/") ? file.startsWith(place) : file === place));
  return fits ? null : `imports \`${name}\`, which belongs to ${places.join(", ")}`;
}

function reachable(folder: string): ReadonlySet<string> {
  const seen = new Set<string>(["net", "model"]);
  const waiting = [...(ARROWS[folder] ?? [])];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    seen.add(next);
    waiting.push(...(ARROWS[next] ?? []));
  }
  // `net` imports nothing at all, and `model` only `net`.
  if (folder === "net" || folder === "model") return new Set(ARROWS[folder]);
  return seen;
}

function folderOf(path: string): string {
  return path.split("/")[0] ?? "";
}

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(folder, name))
    .sort();
}

/** Specifiers of all imports and re-exports, type-only ones, dynamic ones and worker files too; `?` is one that is no literal. */
function importsOf(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, " ").replace(/^\s*\/\/.*$/gm, "");
  const statements = code.matchAll(/^\s*(?:import|export)\b(?:[\w\s{},*$]*?\bfrom)?\s*["']([^"']+)["']/gm);
  const dynamic = code.matchAll(/\bimport\s*\(\s*(?:["']([^"']+)["']\s*[,)])?/g);
  const workers = code.matchAll(/new URL\(\s*["'](\.[^"']+\.ts)["'],\s*import\.meta\.url/g);
  return [...statements, ...dynamic, ...workers].map((match) => match[1] ?? "?");
}
