import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { ImageContents } from "./contents.ts";

export interface ImageSettings {
  /** As `sallyport:0.1.0`. */
  readonly reference: string;
  readonly version: string;
  readonly entrypoint: readonly string[];
  /** Folders that are there for a volume to be mounted on. */
  readonly folders: readonly string[];
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };
/** Every file has this time, so that the same content is the same image. */
const EPOCH = "1970-01-01T00:00:00Z";
const DETERMINISTIC = ["--sort=name", `--mtime=${EPOCH}`, "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"];

/**
 * Lays the files out and packs them as a docker archive of one layer, which `ctr images import`, `docker load` and `podman load` read.
 * The archive appears whole or not at all.
 *
 * @returns the layer's digest, `sha256:` and hex
 */
export function writeImage(contents: ImageContents, settings: ImageSettings, archive: string): string {
  const work = mkdtempSync(join(tmpdir(), "sallyport-image-"));
  try {
    layOut(contents, settings, join(work, "root"));
    pack(join(work, "root"), ["."], join(work, "layer.tar"));
    const digest = `sha256:${createHash("sha256")
      .update(readFileSync(join(work, "layer.tar")))
      .digest("hex")}`;
    writeFileSync(join(work, "config.json"), JSON.stringify(configOf(settings, digest)));
    const manifest = [{ Config: "config.json", RepoTags: [settings.reference], Layers: ["layer.tar"] }];
    writeFileSync(join(work, "manifest.json"), JSON.stringify(manifest));
    mkdirSync(dirname(archive), { recursive: true });
    pack(work, ["config.json", "layer.tar", "manifest.json"], `${archive}.new`);
    renameSync(`${archive}.new`, archive);
    return digest;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function layOut({ files, links }: ImageContents, { folders }: ImageSettings, root: string): void {
  for (const folder of ["/usr/bin", "/usr/lib", "/usr/lib64", "/usr/sbin", "/etc", "/tmp", ...folders]) {
    mkdirSync(join(root, folder), { recursive: true, mode: 0o755 });
  }
  chmodSync(join(root, "tmp"), 0o1777);
  for (const { from, to } of files) {
    mkdirSync(join(root, dirname(to)), { recursive: true, mode: 0o755 });
    copyFileSync(from, join(root, to));
  }
  for (const { path, target } of links) {
    mkdirSync(join(root, dirname(path)), { recursive: true, mode: 0o755 });
    symlinkSync(target, join(root, path));
  }
  // Symbols of Node that nobody debugs with in a container: a quarter of the image.
  execFileSync("strip", ["--strip-unneeded", join(root, "usr/local/bin/node")]);
}

function pack(folder: string, names: readonly string[], archive: string): void {
  execFileSync("tar", ["-C", folder, ...DETERMINISTIC, "-cf", archive, ...names], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}

/** OCI image configuration (image-spec `config.md`), which the docker archive shares. */
function configOf({ version, entrypoint }: ImageSettings, layer: string): object {
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new Error(`no image for ${process.arch}: amd64 and arm64 only`);
  return {
    created: EPOCH,
    architecture,
    os: "linux",
    config: {
      Env: ["PATH=/usr/local/bin:/usr/sbin:/usr/bin"],
      Entrypoint: entrypoint,
      WorkingDir: "/",
      Labels: {
        "org.opencontainers.image.title": "sallyport",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "Apache-2.0",
      },
    },
    rootfs: { type: "layers", diff_ids: [layer] },
    history: [{ created: EPOCH, created_by: "make image" }],
  };
}
