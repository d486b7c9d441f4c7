import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
let folder = "";
let image = "";

/** Runs a program of the image with nothing but the image to see, in namespaces of its own. */
function inImage(...command: string[]): string {
  const script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"';
  return execFileSync("unshare", ["-m", "-n", "-p", "--fork", "sh", "-c", script, image, ...command], {
    encoding: "utf8",
    timeout: 60_000,
    env: { PATH: process.env["PATH"] },
  });
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sallyport-image-test-"));
  image = join(folder, "root");
  for (const name of ["one", "two"]) {
    execFileSync(process.execPath, [join(root, "deploy/image/build.ts"), "--out", join(folder, `${name}.tar`)], {
      timeout: 60_000,
    });
  }
  execFileSync("sh", ["-c", 'mkdir "$0/root" && tar -xOf "$0/one.tar" layer.tar | tar -xf - -C "$0/root"', folder]);
}, 180_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the same sources make the same image", () => {
  execFileSync("cmp", [join(folder, "one.tar"), join(folder, "two.tar")]);
});

test("an agent of the image can enforce: Node, FFI, nft and the fallback for kernels without nft's queue are all there", () => {
  expect(inImage("/usr/local/bin/sallyport", "version")).toMatch(/^sallyport \d+\.\d+\.\d+ \(node v24\./);
  expect(inImage("/usr/local/bin/sallyport", "agent", "--check")).toMatch(/^ready to enforce/);
  const rule =
    "-A FORWARD -m conntrack --ctstate UNTRACKED -m connmark --mark 1/1 -m mark --mark 1/1 -j NFQUEUE --queue-num 0";
  expect(inImage("/usr/sbin/iptables-nft", ...rule.split(" "))).toBe("");
  expect(inImage("/usr/sbin/ip6tables-nft", ...rule.split(" "))).toBe("");
});

test("no shell, no package manager, no development package is in it", () => {
  const files = readdirSync(image, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map(({ parentPath, name }) => join(parentPath, name).slice(image.length));
  expect(files.filter((path) => /\/(?:sh|bash|dash|busybox|apt|apt-get|dpkg|npm|npx)$/.test(path))).toEqual([]);
  const packages = new Set(files.flatMap((path) => /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []));
  expect([...packages].sort()).toEqual([`@koromix/koffi-linux-${process.arch}`, "koffi"]);
  expect(files.filter((path) => /\.(?:ts|map|cc)$/.test(path))).toEqual([]);
});
