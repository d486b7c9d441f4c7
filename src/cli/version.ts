import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Format, printAs } from "./output.ts";

export async function version(options: { readonly output: Format }): Promise<void> {
  const document = {
    version: packageVersion(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
  };
  const words = () => `sallyport ${document.version} (node ${document.node}, ${document.platform})\n`;
  await printAs(options.output, document, words);
}

/** From the nearest package.json above: source and bundle lie at different depths. */
export function packageVersion(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let parent = dirname(folder); parent !== folder; folder = parent, parent = dirname(folder)) {
    try {
      const found = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
        name?: string;
        version?: string;
      };
      if (found.name === "sallyport" && found.version !== undefined) return found.version;
    } catch {}
  }
  return "unknown";
}
