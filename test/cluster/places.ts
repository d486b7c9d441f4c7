import { homedir } from "node:os";

/** Where test clusters keep their files; one folder each. On disk, not in `/run`: containers live below it. */
const CLUSTERS_DIRECTORY = "/var/lib/sallyport-test-cluster";

const NAME = /^[a-z][a-z0-9]{0,9}$/;

/** Where one cluster, or one bare API server, keeps its files. @throws Error one line for the user */
export function placeOf(name: string): string {
  if (!NAME.test(name)) {
    throw new Error(`name \`${name}\` is not valid: use 1 to 10 lower-case letters and digits, a letter first`);
  }
  return `${CLUSTERS_DIRECTORY}/${name}`;
}

/** Where built programs are kept: outside any git tree, so that a fresh clone finds what an earlier one built. */
export function cacheDirectory(): string {
  return `${process.env["XDG_CACHE_HOME"] ?? `${homedir()}/.cache`}/sallyport/cluster`;
}
