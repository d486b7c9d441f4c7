import { existsSync } from "node:fs";

/**
 * Where a worker's program is: `NAME.ts` in the sources, `NAME.js` in a bundle, which may have put the module that asks into a folder of chunks.
 * `beside`: that module's `import.meta.url`.
 */
export function workerFile(name: string, beside: string): URL {
  const places = [`./${name}.js`, `../${name}.js`, `./${name}.ts`].map((place) => new URL(place, beside));
  const found = places.find((url) => existsSync(url));
  if (found === undefined) throw new Error(`\`${name}\` is missing: run \`make build\``);
  return found;
}
