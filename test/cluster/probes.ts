import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { must } from "../../src/lab/process.ts";
import type { Image } from "./image.ts";
import { filesOf } from "./images.ts";
import type { Entry } from "./tar.ts";

export const PROBES_IMAGE = "sallyport.test/probes:1";
export type Library = "musl" | "glibc";

const SOURCE = fileURLToPath(new URL("./probes/reach.c", import.meta.url));
const COMPILERS: Readonly<Record<Library, readonly string[]>> = {
  musl: ["musl-gcc", "-static"],
  glibc: ["gcc"],
};

/** An image with `/reach-musl`, as in images that are made from Alpine, and `/reach-glibc`, as in all others (probes/reach.c). */
export async function probesImage(): Promise<Image> {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-probes-"));
  try {
    const entries: Entry[] = [];
    for (const [library, compiler] of Object.entries(COMPILERS)) {
      const path = join(folder, `reach-${library}`);
      await must([...compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-o", path, SOURCE]);
      entries.push({ path: `reach-${library}`, mode: 0o755, data: await readFile(path) });
    }
    const glibc = await filesOf([join(folder, "reach-glibc")]);
    const nothing = { path: "busybox", mode: 0o755, data: await readFile("/bin/busybox") };
    return {
      name: PROBES_IMAGE,
      entries: [...entries, ...glibc, nothing],
      entrypoint: ["/busybox", "sleep", "2147483647"],
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}
