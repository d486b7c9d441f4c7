import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { compileEpoch } from "../../../src/agent/state.ts";
import { DocumentReader, loadDocuments, putAway } from "../../../src/policy/documents.ts";
import { openProgram } from "../../../src/program/program.ts";
import { WorkloadFileSource } from "../../../src/workloads/file-source.ts";
import { IdentityTable } from "../../../src/workloads/identity.ts";
import { TEXT_PACKER } from "../../../src/workloads/text-packer.ts";

const EXAMPLE = join(import.meta.dirname, "../../../examples/two-apps");
const RELOADS = 10_000;
const MIB = 1024 * 1024;

const read = (path: string) => ({ path, text: readFileSync(join(EXAMPLE, path), "utf8") });
const POLICIES = read("policies/10-app1.yaml");
const CONFIG = read("tests/agent-config.yaml");

function documents(port: number) {
  const text = POLICIES.text.replaceAll("port: 443", `port: ${port}`);
  const { policies, groups, configs, problems } = loadDocuments([{ ...POLICIES, text }, CONFIG]);
  expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
  return { policies, groups, config: configs[0]! };
}

function workloads() {
  let found: Parameters<typeof compileEpoch>[1]["workloads"] = [];
  const source = new WorkloadFileSource(join(EXAMPLE, "tests/workloads.yaml"), new IdentityTable(), {
    onSnapshot: (snapshot) => {
      found = snapshot.workloads;
    },
    onProblem: (problem) => {
      throw new Error(String(problem));
    },
  });
  source.close();
  return found;
}

/** Bytes in use, heap and buffers, when nothing is left to collect. */
function used(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

/** As `used`, of what is still in use a turn later: a compressor that was collected gives back its memory only then. */
async function usedAfterTurn(): Promise<number> {
  used();
  await new Promise((resolve) => setImmediate(resolve));
  return used();
}

test("10,000 reloads leave nothing behind", { timeout: 60_000 }, () => {
  const pods = workloads();
  const versions = Array.from({ length: 8 }, (_, i) => documents(444 + i));
  let isolated = 0;
  let after = 0;
  for (let reload = 1; reload <= RELOADS; reload++) {
    const { program } = compileEpoch(reload, {
      ...versions[reload % versions.length]!,
      workloads: pods,
      nodeAddresses: [],
    });
    // As the lane takes it.
    const adopted = openProgram(program.data);
    for (const { id } of pods) if (adopted.isolated(adopted.classOf(id))) isolated++;
    if (reload === RELOADS / 10) after = used();
  }
  expect(isolated).toBeGreaterThanOrEqual(RELOADS);
  expect((used() - after) / MIB).toBeLessThan(4);
});

test("10,000 readings of files that change leave nothing behind, put away or not", { timeout: 60_000 }, async () => {
  const reader = new DocumentReader(false, TEXT_PACKER);
  const part = (name: string, port: number) =>
    POLICIES.text.replace("name: app1\n", `name: ${name}\n`).replaceAll("port: 443", `port: ${port}`);
  let after = 0;
  for (let reload = 1; reload <= RELOADS; reload++) {
    // One document of the file changes at a time: what is packed with it stays in use.
    const parts = Array.from({ length: 4 }, (_, i) => part(`p${i}`, 1_000 + Math.floor((reload + i) / 4)));
    const { policies, problems } = reader.load([{ path: "f.yaml", text: parts.join("---\n") }]);
    expect(problems).toEqual([]);
    expect(policies).toHaveLength(4);
    if (reload % 10 === 0) {
      putAway(policies);
      // What a compression used is freed in a turn of its own.
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (reload === RELOADS / 10) after = await usedAfterTurn();
  }
  expect(((await usedAfterTurn()) - after) / MIB).toBeLessThan(4);
});
