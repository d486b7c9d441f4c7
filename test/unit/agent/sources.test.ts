import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createLogger, type Logger } from "../../../src/agent/log.ts";
import { PathWatch } from "../../../src/agent/path-watch.ts";
import { Sources } from "../../../src/agent/sources.ts";
import type { Inputs } from "../../../src/agent/state.ts";

const EXAMPLE = join(import.meta.dirname, "../../../examples/two-apps");

let folder: string;
let policies: string;
let workloads: string;
let config: string;
let open: { close(): void }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sallyport-sources-"));
  policies = join(folder, "policies");
  mkdirSync(policies);
  for (const name of ["10-app1.yaml", "90-everything-else.yaml"]) {
    writeFileSync(join(policies, name), readFileSync(join(EXAMPLE, "policies", name)));
  }
  workloads = join(folder, "pods.yaml");
  writeFileSync(workloads, readFileSync(join(EXAMPLE, "tests/workloads.yaml")));
  config = join(folder, "config.yaml");
  writeFileSync(config, readFileSync(join(EXAMPLE, "tests/agent-config.yaml")));
});

afterEach(() => {
  for (const one of open) one.close();
  open = [];
  rmSync(folder, { recursive: true });
});

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function sources(overrides: Partial<{ config: string | null }> = {}) {
  const events: Record<string, unknown>[] = [];
  const note = (fields: Record<string, unknown>): void => void events.push(fields);
  const log = { ...createLogger("silent"), info: note, warn: note, error: note } as unknown as Logger;
  const told: Inputs[] = [];
  const options = {
    policies: [policies],
    workloads,
    config,
    flows: null,
    flowsMaxSize: 1,
    flowsKeep: 0,
    logLevel: "silent",
    supervisor: null,
    ...overrides,
  };
  const made = new Sources(options as unknown as ConstructorParameters<typeof Sources>[0], log, (inputs) =>
    told.push(inputs),
  );
  open.push(made);
  return { sources: made, told, events };
}

describe("sources", () => {
  test("cannot start on documents or workloads that cannot be used", () => {
    writeFileSync(join(policies, "bad.yaml"), "kind: Nonsense\n");
    expect(() => sources()).toThrow(/bad\.yaml:1/);
    rmSync(join(policies, "bad.yaml"));
    expect(() => sources({ config: null })).toThrow(/no AgentConfig document: give one with `--config FILE`/);
    const empty = join(policies, "..", "empty.yaml");
    writeFileSync(empty, "# later\n---\n");
    expect(() => sources({ config: empty })).toThrow(`\`${empty}\`: no AgentConfig document in it`);
    writeFileSync(workloads, "{");
    expect(() => sources()).toThrow(/no workloads/);
  });

  test("tell of changes, many together once, and keep the last good of each kind", async () => {
    const { sources: made, told, events } = sources();
    expect(made.inputs.policies).toHaveLength(2);
    made.follow();
    for (let i = 0; i < 20; i++) {
      writeFileSync(
        join(policies, "10-app1.yaml"),
        `# ${i}\n${readFileSync(join(EXAMPLE, "policies/10-app1.yaml"), "utf8")}`,
      );
    }
    await wait(200);
    expect(told.length).toBeGreaterThan(0);
    expect(told.length).toBeLessThan(5);
    const before = told.length;
    writeFileSync(join(policies, "90-everything-else.yaml"), "kind: [\n");
    writeFileSync(workloads, "items: 7\n");
    await wait(200);
    expect(told.length).toBe(before);
    expect(events.map(({ event }) => event).filter((event) => event !== "workload-left-out")).toEqual(
      expect.arrayContaining(["documents-refused", "workloads-refused"]),
    );
    expect(made.inputs.policies).toHaveLength(2);
    expect(made.inputs.workloads.length).toBeGreaterThan(3);
    rmSync(join(policies, "90-everything-else.yaml"));
    await wait(200);
    expect(told.at(-1)?.policies).toHaveLength(1);
  });

  test("say nothing when nothing has changed", async () => {
    const { sources: made, told } = sources();
    made.follow();
    made.reload();
    writeFileSync(config, readFileSync(config));
    await wait(150);
    expect(told).toEqual([]);
  });

  test("a workload keeps its id when its labels change", async () => {
    const { sources: made, told } = sources();
    const id = made.inputs.workloads.find(({ name }) => name === "app1")?.id;
    writeFileSync(workloads, readFileSync(workloads, "utf8").replaceAll("app: app1", "app: other"));
    await wait(200);
    const after = told.at(-1)?.workloads.find(({ name }) => name === "app1");
    expect(after?.id).toBe(id);
    expect(after?.labels["app"]).toBe("other");
  });
});

describe("a watch over paths", () => {
  function watch(path: string): { count: () => number } {
    let count = 0;
    open.push(new PathWatch([path], () => count++));
    return { count: () => count };
  }

  test("of a file: sees writes, a rename over it and Kubernetes' turn of a link, not its neighbours", async () => {
    const watched = watch(config);
    await wait(50);
    for (let i = 0; i < 10; i++) writeFileSync(join(folder, "flows.log"), `${i}`);
    await wait(120);
    expect(watched.count()).toBe(0);
    writeFileSync(config, "a");
    await wait(120);
    expect(watched.count()).toBe(1);
    writeFileSync(`${config}.new`, "b");
    renameSync(`${config}.new`, config);
    await wait(120);
    expect(watched.count()).toBe(2);
    writeFileSync(join(folder, "..data"), "");
    await wait(120);
    expect(watched.count()).toBe(3);
  });

  test("of a folder: sees what is below, tells a burst once", async () => {
    mkdirSync(join(policies, "team"));
    const watched = watch(policies);
    await wait(100);
    for (let i = 0; i < 50; i++) writeFileSync(join(policies, "team", `${i}.yaml`), "");
    await wait(150);
    expect(watched.count()).toBeGreaterThan(0);
    expect(watched.count()).toBeLessThan(5);
  });

  test("of a folder: sees each rename over the same file, also below a folder that is new", async () => {
    const watched = watch(policies);
    mkdirSync(join(policies, "later"));
    await wait(100);
    const file = join(policies, "later", "own.yaml");
    const before = watched.count();
    for (let i = 0; i < 8; i++) {
      writeFileSync(join(folder, "own.yaml"), `# ${i}`);
      renameSync(join(folder, "own.yaml"), file);
      await wait(100);
    }
    // Only one could be the regular look.
    expect(watched.count() - before).toBeGreaterThanOrEqual(8);
  });

  test("of a path that is not there yet: looks again by itself", async () => {
    const watched = watch(join(folder, "later", "config.yaml"));
    await wait(2_200);
    expect(watched.count()).toBeGreaterThan(0);
  });
});
