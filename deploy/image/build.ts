/**
 * Builds the image without a container engine: `node deploy/image/build.ts [--out FILE]`. Prints what it made. `make image` builds
 * `dist/` first. For the architecture of this machine; what comes from Debian is what is installed here.
 */
import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { packageVersion } from "../../src/cli/version.ts";
import { writeImage } from "./archive.ts";
import { imageContents } from "./contents.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const { values } = parseArgs({ options: { out: { type: "string" } } });
const version = packageVersion();
const archive = values.out ?? join(root, `.cache/image/sallyport-${version}.tar`);
try {
  const digest = writeImage(
    imageContents(root),
    {
      reference: `sallyport:${version}`,
      version,
      entrypoint: ["/usr/local/bin/sallyport"],
      folders: ["/run/sallyport", "/var/lib/sallyport", "/etc/sallyport", "/proc", "/sys", "/dev"],
    },
    archive,
  );
  console.log(`${archive}: sallyport:${version}, ${Math.round(statSync(archive).size / 2 ** 20)} MiB, layer ${digest}`);
} catch (error) {
  console.error(`image: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
