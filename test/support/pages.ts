import { readdirSync } from "node:fs";
import { join, relative } from "node:path";

const OUTSIDE = new Set(["node_modules", "dist", ".git", ".cache"]);

/** The Markdown files below a folder, as paths from there. */
export function pagesOf(root: string, folder = root): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return OUTSIDE.has(entry.name) ? [] : pagesOf(root, path);
    return entry.name.endsWith(".md") ? [relative(root, path)] : [];
  });
}

/** The policy documents that a page shows. */
export function shownDocuments(page: string): string[] {
  return [...page.matchAll(/```yaml\n(apiVersion: sallyport\.dev\/[\s\S]*?)```/g)]
    .map(([, text = ""]) => text)
    .filter((text) => !text.includes("kind: EgressTest"));
}
