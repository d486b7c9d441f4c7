import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { frame, HEADER } from "../../../src/agent/journal/frame.ts";
import { RecordEncoder } from "../../../src/agent/journal/record.ts";
import { JournalTail } from "../../../src/agent/journal/tail.ts";
import { parseAddress } from "../../../src/net/address.ts";

let folder: string;
let path: string;
let tail: JournalTail;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sallyport-tail-"));
  path = join(folder, "journal");
  tail = new JournalTail(path);
});
afterEach(() => {
  tail.close();
  rmSync(folder, { recursive: true });
});

function binding(name: string): Buffer {
  const encoder = new RecordEncoder();
  const address = parseAddress("192.0.2.1")!;
  return frame(encoder.bytes, encoder.binding("pod", { name, address, aliases: [], expires: 1e12 }));
}

function read(): string[] {
  const names: string[] = [];
  tail.read((record) => names.push(record.kind === "binding" ? record.binding.name : record.kind));
  return names;
}

describe("the journal of another agent", () => {
  test("is read as it grows, each record once", () => {
    expect(read()).toEqual([]);
    writeFileSync(path, Buffer.concat([HEADER, binding("a.example")]));
    expect(read()).toEqual(["a.example"]);
    expect(read()).toEqual([]);
    appendFileSync(path, binding("b.example"));
    expect(read()).toEqual(["b.example"]);
  });

  test("a record that is half there is read when it is whole", () => {
    writeFileSync(path, HEADER.subarray(0, 5));
    expect(read()).toEqual([]);
    const whole = binding("a.example");
    writeFileSync(path, Buffer.concat([HEADER, whole.subarray(0, 11)]));
    expect(read()).toEqual([]);
    appendFileSync(path, whole.subarray(11));
    expect(read()).toEqual(["a.example"]);
  });

  test("what was written before another file took its place is not lost", () => {
    writeFileSync(path, Buffer.concat([HEADER, binding("a.example")]));
    read();
    appendFileSync(path, binding("b.example"));
    writeFileSync(`${path}.next`, Buffer.concat([HEADER, binding("c.example")]));
    renameSync(`${path}.next`, path);
    expect(read()).toEqual(["b.example", "c.example"]);
  });

  test("rubbish is no record", () => {
    writeFileSync(path, "something else altogether, and long enough");
    expect(read()).toEqual([]);
    rmSync(path);
    expect(read()).toEqual([]);
  });
});
