import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { readWorkloadFile, WorkloadFileSource } from "../../../src/workloads/file-source.ts";
import { DocumentFiles, readDocumentFiles, type SourceFile } from "../../../src/workloads/files.ts";
import { IdentityTable } from "../../../src/workloads/identity.ts";
import { TEXT_PACKER } from "../../../src/workloads/text-packer.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sallyport-workloads-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const write = (name: string, text: string | Uint8Array) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

const plain = (files: readonly SourceFile[]) =>
  files.map(({ path, text, problem }) => (problem === undefined ? { path, text } : { path, text, problem }));

describe("documents", () => {
  test("of folders, in order, without what is hidden or of another kind", () => {
    mkdirSync(join(folder, "b"));
    mkdirSync(join(folder, "..data"), { recursive: true });
    for (const name of ["c.yaml", "a.yml", "b/z.json", "b/a.YAML", "notes.txt", ".hidden.yaml", "..data/d.yaml"])
      write(name, name);
    symlinkSync("..data/d.yaml", join(folder, "d.yaml"));
    const names = readDocumentFiles([folder]).map(({ path }) => path.slice(folder.length + 1));
    expect(names).toEqual(["a.yml", "b/a.YAML", "b/z.json", "c.yaml", "d.yaml"]);
  });

  test("a file named is read whatever it is called, and once", () => {
    const path = write("policy.conf", "text");
    expect(plain(readDocumentFiles([path, path]))).toEqual([{ path, text: "text" }]);
  });

  test("every path that holds nothing is named", () => {
    mkdirSync(join(folder, "empty"));
    mkdirSync(join(folder, "circle"));
    symlinkSync(".", join(folder, "circle", "again"));
    const paths = [join(folder, "none"), join(folder, "empty"), join(folder, "circle")];
    const lines = (() => {
      try {
        return String(readDocumentFiles(paths).length);
      } catch (error) {
        return (error as Error).message;
      }
    })().split("\n");
    expect(lines).toEqual([
      `\`${folder}/none\` is not there: check the path`,
      `\`${folder}/empty\` holds no *.yaml, *.yml or *.json: name another folder`,
      expect.stringMatching(/lies more than 16 folders deep: check for a link in a circle$/),
    ]);
  });

  test("read again are the same objects, but for those with another content", async () => {
    const paths = [write("a.yaml", "one"), write("b.yaml", "two"), write("c.yaml", Uint8Array.of(0xff))];
    const files = new DocumentFiles(TEXT_PACKER);
    const first = files.read(paths);
    const again = files.read(paths);
    for (const [index, file] of again.entries()) expect(file).toBe(first[index]);
    // Of the same size, in the same tick.
    write("b.yaml", "owt");
    expect(plain(files.read(paths))[1]).toEqual({ path: paths[1], text: "owt" });
    write("b.yaml", "tow");
    expect(files.read(paths)[1]!.text).toBe("tow");
    await new Promise((resolve) => setTimeout(resolve, 120));
    const settled = files.read(paths);
    for (const [index, file] of files.read(paths).entries()) expect(file).toBe(settled[index]);
    write("a.yaml", "eno");
    renameSync(write("new", "wot"), paths[1]!);
    expect(files.read(paths).map(({ text }) => text)).toEqual(["eno", "wot", ""]);
    rmSync(paths[0]!);
    expect(() => files.read(paths)).toThrow(/is not there/);
    expect(files.read(paths.slice(1))[0]!.text).toBe("wot");
  });

  test("put away, they are the same objects and say the same", async () => {
    // A byte order mark of the text itself, and what is no ASCII.
    const texts = ["one", "", "\ufeff\ufeffzwei: \u00fc \u{1f600}\n".repeat(100)];
    const paths = texts.map((text, index) => write(`${index}.yaml`, text));
    const files = new DocumentFiles(TEXT_PACKER);
    const before = files.read(paths);
    const read = before.map(({ text }) => text);
    await new Promise((resolve) => setTimeout(resolve, 120));
    // What may have been written in the tick in which it was read is put away once it has been read again.
    files.read(paths);
    files.putAway();
    files.putAway();
    expect(before.map(({ text }) => text)).toEqual(read);
    for (const [index, file] of files.read(paths).entries()) expect(file).toBe(before[index]);
    write("0.yaml", "eno");
    expect(files.read(paths).map(({ text }) => text)).toEqual(["eno", ...read.slice(1)]);
  });

  test("a file that is no text says where, and the others are read", () => {
    const latin1 = write("latin1.yaml", Uint8Array.of(0x61, 0x0a, 0xc3, 0xbc, 0xef, 0xbf, 0xbd, 0x66, 0xfc, 0x72));
    const other = write("other.yaml", "text");
    const problem = { line: 2, column: 4, message: "the file is not UTF-8 text: save it as UTF-8" };
    expect(plain(readDocumentFiles([latin1, other]))).toEqual([
      { path: latin1, text: "", problem },
      { path: other, text: "text" },
    ]);
  });
});

const workloads = (address: string) =>
  JSON.stringify({
    kind: "List",
    items: [
      { apiVersion: "v1", kind: "Pod", metadata: { name: "a", namespace: "b", uid: "1" }, status: { podIP: address } },
      { apiVersion: "v1", kind: "Namespace", metadata: { name: "b" } },
    ],
  });

describe("workloads", () => {
  test("a file that is not there", () => {
    expect(readWorkloadFile(join(folder, "none"), new IdentityTable())).toEqual({
      ok: false,
      problem: `\`${folder}/none\` is not there: check the path`,
    });
  });

  test("are followed through writing, replacing, breaking and removing", async () => {
    const path = write("pods.json", workloads("10.0.0.1"));
    const told: string[] = [];
    const source = new WorkloadFileSource(path, new IdentityTable(), {
      onSnapshot: (snapshot) =>
        told.push(snapshot.workloads.map(({ id, addresses }) => `${id} ${addresses[0]!.w3 & 0xff}`).join()),
      onProblem: (problem) => told.push(problem.replace(folder, "")),
    });
    const next = async (change: () => void, expected: unknown) => {
      told.length = 0;
      change();
      await vi.waitFor(() => expect(told.at(-1)).toEqual(expected), { timeout: 5000, interval: 5 });
    };
    try {
      expect(told).toEqual(["1 1"]);
      await next(() => write("pods.json", workloads("10.0.0.2")), "1 2");
      await next(() => renameSync(write("pods.new", workloads("10.0.0.3")), path), "1 3");
      await next(
        () => write("pods.json", workloads("10.0.0.4").slice(0, -5)),
        expect.stringMatching(/^`\/pods.json`: not readable as YAML/),
      );
      await next(() => write("pods.json", workloads("10.0.0.4")), "1 4");
      await next(() => rmSync(path), "`/pods.json` is not there: check the path");
      await next(() => write("pods.json", workloads("10.0.0.4")), "1 4");
    } finally {
      source.close();
    }
    told.length = 0;
    write("pods.json", workloads("10.0.0.5"));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(told).toEqual([]);
  });
});
