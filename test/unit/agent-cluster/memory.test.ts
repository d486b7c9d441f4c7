import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ClusterMemory } from "../../../src/agent/cluster/memory.ts";

let folder: string;
let troubles: string[];
const OBJECTS = [
  { key: "ns/a", uid: "1", value: { metadata: { name: "a" } } },
  { key: "ns/b", uid: "2", value: { note: "two\nlines" } },
];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sallyport-memory-"));
  troubles = [];
});

afterEach(() => rmSync(folder, { recursive: true }));

const memory = (node = "node1"): ClusterMemory => new ClusterMemory(folder, node, (message) => troubles.push(message));

async function written(objects: readonly (typeof OBJECTS)[number][] = OBJECTS): Promise<string> {
  const writer = memory();
  writer.changed("pods", () => objects);
  await writer.close();
  return join(folder, "cluster-pods");
}

describe("what is remembered of a cluster", () => {
  test("is what was written last, and nothing else lies about", async () => {
    await written(OBJECTS.slice(0, 1));
    await written();
    expect(memory().read("pods")?.objects).toEqual(OBJECTS);
    expect(readdirSync(folder)).toEqual(["cluster-pods"]);
    expect(troubles).toEqual([]);
  });

  test("may be that there is nothing", async () => {
    expect(memory().read("pods")).toBe(null);
    await written([]);
    expect(memory().read("pods")?.objects).toEqual([]);
  });

  test("is taken when it is written, so that changes that come together are one write", async () => {
    const writer = memory();
    let now = OBJECTS.slice(0, 1);
    writer.changed("pods", () => now);
    writer.changed("pods", () => now);
    now = OBJECTS;
    await writer.close();
    expect(memory().read("pods")?.objects).toEqual(OBJECTS);
  });

  test("is not believed of another node, in another format, or when it is not whole", async () => {
    const path = await written();
    expect(memory("node2").read("pods")).toBe(null);
    const text = readFileSync(path, "utf8");
    for (const bad of [
      "",
      "{",
      text.slice(0, -4),
      text.replace('"format":1', '"format":2'),
      `${text}{}\n`,
      text.replace(/.*\n$/, ""),
    ]) {
      writeFileSync(path, bad);
      expect(memory().read("pods"), bad).toBe(null);
    }
  });

  test("is not read or written through a link", async () => {
    const path = await written();
    symlinkSync(path, join(folder, "cluster-namespaces"));
    expect(memory().read("namespaces")).toBe(null);
    const next = join(folder, `cluster-good.${process.pid}`);
    symlinkSync("/dev/null", next);
    const writer = memory();
    writer.changed("good", () => OBJECTS);
    await writer.close();
    expect(troubles).toHaveLength(1);
    expect(readdirSync(folder)).not.toContain("cluster-good");
  });
});
