import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ClusterMemory } from "../../../src/agent/cluster/memory.ts";
import { ObjectPacking, PackedObject } from "../../../src/agent/cluster/packed-objects.ts";
import { TEXT_PACKER } from "../../../src/workloads/text-packer.ts";

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
    const text = readFileSync(path, "latin1");
    for (const bad of [
      "",
      "{",
      text.slice(0, -4),
      text.replace('"format":2', '"format":3'),
      text.replace('"format":2', '"format":1'),
      `${text}{}\n`,
      `${text}${text.slice(text.indexOf("\n") + 1)}`,
      text.replace('"count":2', '"count":3'),
      text.replace('"live":[0,1]', '"live":[0,2]'),
      text.slice(0, text.indexOf("\n") + 1),
      text.slice(0, -9) + "?".repeat(9),
    ]) {
      writeFileSync(path, bad, "latin1");
      expect(memory().read("pods"), bad).toBe(null);
    }
    writeFileSync(path, text, "latin1");
    expect(memory().read("pods")?.objects).toEqual(OBJECTS);
  });

  test("may have been written by an agent that wrote a line for each object", () => {
    const head = { format: 1, node: "node1", savedAt: 5, count: 2 };
    const lines = [head, ...OBJECTS].map((one) => `${JSON.stringify(one)}\n`);
    writeFileSync(join(folder, "cluster-pods"), lines.join(""));
    expect(memory().read("pods")).toEqual({ objects: OBJECTS, savedAt: 5 });
    writeFileSync(join(folder, "cluster-pods"), lines.slice(0, 2).join(""));
    expect(memory().read("pods")).toBe(null);
  });

  test("is written as it is packed, without what is gone, and read as it is to be held", async () => {
    const packing = new ObjectPacking(TEXT_PACKER);
    const all = Array.from({ length: 2_000 }, (_, index) => {
      const value = { metadata: { name: `n-${index}`, labels: { index: `${index}` } }, text: "x".repeat(index % 500) };
      return { key: `n-${index}`, uid: `u-${index}`, value };
    });
    const left = all.map(packing.hold).filter((_, index) => index % 3 === 0);
    const writer = memory();
    writer.changed("namespaces", () => left);
    await writer.close();
    const again = new ObjectPacking(TEXT_PACKER);
    const objects = memory().read("namespaces", again.hold)!.objects;
    expect(objects.map(({ key, uid, value }) => ({ key, uid, value }))).toEqual(
      all.filter((_, index) => index % 3 === 0),
    );
    expect(objects.every((object) => object instanceof PackedObject)).toBe(true);
    expect(statSync(join(folder, "cluster-namespaces")).size).toBeLessThan(100_000);
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
