import { createHash } from "node:crypto";
import { type Entry, tar } from "./tar.ts";

/** An image of one layer, made without a builder. */
export interface Image {
  /** With a tag, and a registry that does not exist: `sallyport.test/pause:1`. */
  readonly name: string;
  readonly entries: readonly Entry[];
  readonly entrypoint: readonly string[];
}

/** An archive that holds the image in OCI layout (image-spec 1.1), for `ctr images import`. */
export function imageArchive(image: Image): Buffer {
  const layer = tar(withFolders(image.entries));
  const architecture = { x64: "amd64", arm64: "arm64" }[process.arch as string] ?? process.arch;
  const config = json({
    architecture,
    os: "linux",
    config: {
      Entrypoint: image.entrypoint,
      Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
      WorkingDir: "/",
    },
    rootfs: { type: "layers", diff_ids: [digest(layer)] },
    history: [{ created_by: "sallyport test" }],
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: descriptor("application/vnd.oci.image.config.v1+json", config),
    layers: [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
  });
  const index = json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [
      {
        ...descriptor("application/vnd.oci.image.manifest.v1+json", manifest),
        platform: { architecture, os: "linux" },
        annotations: { "io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name },
      },
    ],
  });
  const file = (path: string, data: Uint8Array): Entry => ({ path, mode: 0o644, data });
  return tar([
    file("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
    file("index.json", index),
    ...[layer, config, manifest].map((blob) => file(`blobs/sha256/${digest(blob).slice("sha256:".length)}`, blob)),
  ]);
}

function descriptor(mediaType: string, blob: Uint8Array): object {
  return { mediaType, digest: digest(blob), size: blob.length };
}

function digest(blob: Uint8Array): string {
  return `sha256:${createHash("sha256").update(blob).digest("hex")}`;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** Adds the folders that the entries lie in, parents first. */
function withFolders(entries: readonly Entry[]): Entry[] {
  const folders = new Map<string, Entry>();
  for (const { path } of entries) {
    const parts = path.replace(/\/$/, "").split("/");
    for (let count = 1; count < parts.length; count++) {
      const folder = `${parts.slice(0, count).join("/")}/`;
      if (!folders.has(folder)) folders.set(folder, { path: folder, mode: 0o755 });
    }
  }
  const own = new Set(entries.map(({ path }) => path));
  return [...[...folders.values()].filter(({ path }) => !own.has(path)), ...entries];
}
