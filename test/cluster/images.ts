import { readFile, realpath } from "node:fs/promises";
import { must, run } from "../../src/lab/process.ts";
import type { Programs } from "./builds.ts";
import type { Image } from "./image.ts";
import type { Entry } from "./tar.ts";

/** Of no registry: a pod that names them says `imagePullPolicy: Never`. */
export const PAUSE_IMAGE = "sallyport.test/pause:1";
export const TOOLS_IMAGE = "sallyport.test/tools:1";
export const COREDNS_IMAGE = "sallyport.test/coredns:1";

const BUSYBOX = "/bin/busybox";
/** Programs of the host that a test pod gets, besides all of busybox. */
const TOOLS = ["curl", "dig", "getent", "openssl", "nc", "socat"];
/** What glibc loads by name, so that `ldd` does not see it. */
const GLIBC_MODULES = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/** The images that every test cluster has. Clients of the tools image trust `authority` (PEM) and no other. */
export async function standardImages(programs: Programs, authority: Uint8Array): Promise<readonly Image[]> {
  return Promise.all([pauseImage(), toolsImage(authority), corednsImage(programs)]);
}

async function pauseImage(): Promise<Image> {
  return {
    name: PAUSE_IMAGE,
    entries: [{ path: "busybox", mode: 0o755, data: await readFile(BUSYBOX) }],
    entrypoint: ["/busybox", "sleep", "2147483647"],
  };
}

async function corednsImage(programs: Programs): Promise<Image> {
  return {
    name: COREDNS_IMAGE,
    entries: [{ path: "coredns", mode: 0o755, data: await readFile(programs.coredns) }],
    entrypoint: ["/coredns"],
  };
}

async function toolsImage(authority: Uint8Array): Promise<Image> {
  const applets = (await must([BUSYBOX, "--list"]))
    .trim()
    .split("\n")
    .filter((name) => !TOOLS.includes(name));
  const found = await Promise.all(TOOLS.map((tool) => which(tool)));
  return {
    name: TOOLS_IMAGE,
    entries: [
      { path: "bin/busybox", mode: 0o755, data: await readFile(BUSYBOX) },
      ...applets
        .filter((name) => name !== "busybox")
        .map((name) => ({ path: `bin/${name}`, mode: 0o777, link: "busybox" })),
      ...(await Promise.all(found.map(async (path) => copy(path, `usr/bin/${path.split("/").at(-1)}`)))),
      ...(await filesOf(found)),
      { path: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: authority },
      { path: "etc/ssl/cert.pem", mode: 0o777, link: "certs/ca-certificates.crt" },
      text("etc/passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"),
      text("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
      { path: "tmp/", mode: 0o1777 },
      { path: "root/", mode: 0o700 },
    ],
    entrypoint: ["/bin/sleep", "2147483647"],
  };
}

async function which(program: string): Promise<string> {
  return (await must(["sh", "-c", 'command -v "$1"', "sh", program])).trim();
}

/** What dynamic programs need beside themselves: the loader, libraries, and where names are looked up. */
export async function filesOf(programs: readonly string[]): Promise<readonly Entry[]> {
  const libraries = await librariesOf(programs);
  return [
    ...(await Promise.all(libraries.map(async (path) => copy(path, path.slice(1))))),
    text("etc/nsswitch.conf", "hosts: files dns\n"),
  ];
}

/** Every shared object that these programs load, the loader included, by the path they look for it at. */
async function librariesOf(programs: readonly string[]): Promise<readonly string[]> {
  const paths = new Set<string>();
  for (const program of programs) {
    // A static program makes ldd fail: it needs none.
    const { stdout } = await run(["ldd", program]);
    for (const [, path = ""] of stdout.matchAll(/(\/\S+) \(0x/g)) paths.add(path);
  }
  const folder = [...paths].find((path) => path.endsWith("/libc.so.6"))?.replace(/libc\.so\.6$/, "");
  if (folder !== undefined) for (const name of GLIBC_MODULES) paths.add(`${folder}${name}`);
  return [...paths].sort();
}

async function copy(from: string, to: string): Promise<Entry> {
  return { path: to, mode: 0o755, data: await readFile(await realpath(from)) };
}

function text(path: string, content: string): Entry {
  return { path, mode: 0o644, data: Buffer.from(content) };
}
