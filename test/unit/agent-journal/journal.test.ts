import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { JournalFile } from "../../../src/agent/journal/file.ts";
import { removeState } from "../../../src/agent/journal/folder.ts";
import { readJournal } from "../../../src/agent/journal/frame.ts";
import { Journal, type JournalOptions } from "../../../src/agent/journal/journal.ts";
import type { JournalRecord } from "../../../src/agent/journal/record.ts";
import { REMEMBERED } from "../../../src/agent/state.ts";
import { type LiveFlow, LiveFlows } from "../../../src/flow/live-flows.ts";
import type { Binding } from "../../../src/names/table.ts";
import { ipv4 } from "../../../src/net/address.ts";
import { compileScene, workload } from "../../support/cases.ts";
import { tupleTo } from "../flow/events.ts";
import { remembered } from "./records.ts";

const PODS = [workload(1, "ns/one"), workload(2, "ns/two")];
const PROGRAM = compileScene({ policies: [], workloads: PODS });
const HOUR = 3_600_000;

let folder: string;
let live: LiveFlows;
let said: Record<string, unknown>[];
let journals: Journal[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "journal-"));
  live = new LiveFlows({ total: 1_000_000, perWorkload: 1_000_000 });
  said = [];
  journals = [];
});

afterEach(async () => {
  for (const journal of journals) await journal.close();
  rmSync(folder, { recursive: true, force: true });
});

const note = (fields: Record<string, unknown>) => said.push(fields);
const log = { info: note, warn: note, error: note } as unknown as JournalOptions["log"];

function journal(more: Partial<JournalOptions> = {}): Journal {
  const keyOf = (id: number) => `uid-${id}`;
  const made = new Journal({ file: new JournalFile(folder), run: "00000001", keyOf, log, ...more });
  journals.push(made);
  return made;
}

function begun(more: Partial<JournalOptions> = {}): Journal {
  const made = journal(more);
  made.open(PROGRAM, PODS, 1000);
  made.start(live);
  return made;
}

function flow(port: number, more: Partial<LiveFlow> = {}): LiveFlow {
  const { run: _, ...rest } = remembered(port);
  return { ...rest, workloadId: 1, ...more };
}

function open(on: Journal, ...ports: readonly number[]): void {
  for (const port of ports) {
    live.resumed(flow(port));
    on.opened(live.view(live.last), live.runOf(live.last));
  }
}

function close(on: Journal, ...ports: readonly number[]): void {
  for (const port of ports) {
    live.closed(tupleTo(port));
    on.closed(tupleTo(port));
  }
}

function bound(name: string, more: Partial<Binding> = {}): Binding {
  return { workloadId: 1, address: ipv4(0xc0000201), name, aliases: [], expires: Date.now() + HOUR, ...more };
}

/** What the next agent would know. */
function next(pods = PODS) {
  const made = journal();
  const memory = made.open(PROGRAM, pods, 1000);
  const names = made.bindings().map(({ workloadId, name }) => `${workloadId} ${name}`);
  return { memory, names, recall: (port: number, start = 0) => memory.recall(tupleTo(port), start) };
}

function onDisk(): JournalRecord[] {
  const records: JournalRecord[] = [];
  readJournal(readFileSync(join(folder, "journal")), (record) => records.push(record));
  return records;
}

async function until(what: () => boolean, ms = 5_000): Promise<void> {
  for (const deadline = Date.now() + ms; !what(); ) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe("what a restart remembers", () => {
  test("open flows with their ids, and bindings, of workloads that are still there", async () => {
    const first = begun();
    await until(() => first.counters.compactions === 1);
    open(first, 1, 2, 3);
    close(first, 2);
    first.learned([bound("api.github.com"), bound("two.example", { workloadId: 2 })]);
    await first.close();
    const { memory, names, recall } = next([PODS[0]!]);
    expect(memory.size).toBe(2);
    expect(recall(1)).toEqual(flow(1, { run: "00000001" }));
    expect(recall(2)).toBeNull();
    expect(names).toEqual(["1 api.github.com"]);
  });

  test("the run that numbered a flow stays with it", async () => {
    live.resumed(flow(1, { run: "0000000f" }));
    await begun().close();
    expect(next().recall(1)?.run).toBe("0000000f");
  });

  test("a flow of a workload that is gone belongs to nobody", async () => {
    live.resumed(flow(1, { workloadId: 2 }));
    await begun().close();
    expect(next([PODS[0]!]).recall(1)?.workloadId).toBe(-1);
  });

  test("an entry that began later is another flow with the same ports", async () => {
    live.resumed(flow(1));
    await begun().close();
    const { recall } = next();
    expect(recall(1, flow(1).since + 500)).not.toBeNull();
    expect(recall(1, flow(1).since + 5_000)).toBeNull();
  });

  test("what nobody knows the reason of is not noted", async () => {
    live.resumed(flow(1, { decision: REMEMBERED }));
    await begun().close();
    expect(next().memory.size).toBe(0);
  });

  test("bindings that ended, or that today's rules would not bind, are left out; none lasts for ever", async () => {
    const first = begun();
    await until(() => first.counters.compactions === 1);
    first.learned([
      bound("gone.example", { expires: Date.now() + 1 }),
      bound("metadata.example", { address: ipv4(0xa9fea9fe) }),
      bound("ever.example", { expires: 8e15 }),
      bound("nobody.example", { workloadId: 9 }),
    ]);
    await first.close();
    await new Promise((resolve) => setTimeout(resolve, 5));
    const second = journal();
    second.open(PROGRAM, PODS, 1000);
    expect(second.bindings().map(({ name }) => name)).toEqual(["ever.example"]);
    expect(second.bindings()[0]!.expires).toBeLessThan(Date.now() + 8 * 24 * HOUR);
  });

  test("the bindings of a workload that goes are forgotten, here and at the next compaction", async () => {
    const first = begun();
    await until(() => first.counters.compactions === 1);
    first.learned([bound("a.example"), bound("b.example", { workloadId: 2 })]);
    first.setWorkloads([PODS[1]!]);
    expect(first.bindings().map(({ name }) => name)).toEqual(["b.example"]);
  });
});

describe("compaction", () => {
  const limits = { file: 60_000, compactFrom: 8_000, live: 40_000, flows: 30_000, queue: 20_000 };

  test("leaves exactly what is live, also of what comes meanwhile", async () => {
    // However slow the disk is: the bound of the queue is for another test.
    const first = begun({ limits: { ...limits, queue: 1_000_000 } });
    for (let port = 1; port <= 600; port++) {
      open(first, port);
      if (port > 20) close(first, port - 20);
      if (port % 15 === 0) await new Promise((resolve) => setTimeout(resolve, 15));
    }
    await first.close();
    expect(first.counters.compactions).toBeGreaterThan(3);
    expect(first.counters.unwritten).toBe(0);
    expect(statSync(join(folder, "journal")).size).toBeLessThan(limits.file);
    const { memory, recall } = next();
    expect(memory.size).toBe(20);
    for (const { flowId } of live.all()) expect(recall(flowId)).not.toBeNull();
    expect(existsSync(join(folder, "journal.next"))).toBe(false);
  });

  test("beyond the bound the newest stay, and a workload that has many takes nothing from another", async () => {
    live.resumed(flow(1, { workloadId: 2 }));
    for (let port = 2; port < 500; port++) live.resumed(flow(port, { since: flow(1).since + port }));
    const first = begun({ limits });
    await first.close();
    expect(statSync(join(folder, "journal")).size).toBeLessThan(limits.live);
    expect(first.counters.leftOut).toBeGreaterThan(300);
    const { recall } = next();
    expect([recall(1), recall(499)]).not.toContain(null);
    expect(recall(2)).toBeNull();
  });

  test("what the queue has no room for is made good by a compaction", async () => {
    const first = begun({ limits });
    await until(() => first.counters.compactions === 1);
    for (let port = 1; port <= 120; port++) open(first, port);
    expect(first.counters.unwritten).toBeGreaterThan(0);
    await until(() => first.counters.compactions === 2);
    await first.close();
    expect(next().memory.size).toBe(120);
  });
});

describe("trouble", () => {
  /** A disk that takes `room` more bytes. */
  class FullDisk extends JournalFile {
    room = Number.POSITIVE_INFINITY;

    override async append(batch: readonly Buffer[]): Promise<void> {
      const bytes = Buffer.concat(batch);
      if (bytes.length <= this.room) return super.append(batch);
      await super.append([bytes.subarray(0, this.room)]);
      this.room = 0;
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    }

    override async replace(write: Parameters<JournalFile["replace"]>[0]): Promise<void> {
      if (this.room <= 0) throw Object.assign(new Error("ENOSPC: no space left on device, open"), { code: "ENOSPC" });
      return super.replace(write);
    }
  }

  test("a full disk is counted and said once; what was written before stays readable; then all is made good", async () => {
    const file = new FullDisk(folder);
    const first = begun({ file });
    await until(() => first.counters.compactions === 1);
    open(first, 1);
    await until(() => first.counters.records === 1);
    file.room = 100;
    open(first, 2);
    await until(() => first.counters.failures > 0);
    open(first, 3);
    expect(next().memory.size).toBe(1);
    await until(() => first.counters.failures > 1);
    expect(said.filter(({ event }) => event === "journal-failed")).toHaveLength(1);
    file.room = Number.POSITIVE_INFINITY;
    await until(() => first.counters.compactions === 2);
    close(first, 1);
    await first.close();
    expect(next().memory.size).toBe(2);
  });

  test("a folder that cannot be made costs the memory, not the agent", async () => {
    const file = new JournalFile(join(folder, "file", "state"));
    writeFileSync(join(folder, "file"), "");
    const first = begun({ file });
    await until(() => first.counters.failures > 0);
    open(first, 1);
    expect(said.map(({ event }) => event)).toEqual(["journal-unread", "journal-failed"]);
    rmSync(join(folder, "file"));
    await until(() => first.counters.compactions === 1);
  });

  test("a folder that others can write to is neither believed nor written to", async () => {
    live.resumed(flow(1));
    await begun().close();
    chmodSync(folder, 0o777);
    expect(next().memory.size).toBe(0);
    expect(said.at(-1)).toMatchObject({ event: "journal-unread" });
  });

  test("a symbolic link in the place of the journal is not followed", () => {
    symlinkSync("/etc/hostname", join(folder, "journal"));
    expect(next().memory.size).toBe(0);
    expect(said.at(-1)).toMatchObject({ event: "journal-unread" });
  });

  test("rubbish, and the journal of another version, are left aside and said", () => {
    writeFileSync(join(folder, "journal"), "what is this");
    expect(next().memory.size).toBe(0);
    writeFileSync(join(folder, "journal"), "sallyport journal\0\x07rest");
    next();
    expect(said).toMatchObject([
      { event: "journal-ignored", version: null },
      { event: "journal-ignored", version: 7 },
    ]);
  });

  test("an agent that was replaced does not put its journal over that of its successor", async () => {
    const first = begun();
    await until(() => first.counters.compactions === 1);
    writeFileSync(join(folder, "other"), "");
    renameSync(join(folder, "other"), join(folder, "journal"));
    for (let port = 0; port < 60_000; port++) open(first, port);
    await until(() => said.some(({ event }) => event === "journal-superseded"));
    expect(readFileSync(join(folder, "journal"), "latin1")).toBe("");
  });

  test("--remove takes the files and the folder, but nothing of others", async () => {
    await begun().close();
    writeFileSync(join(folder, "mine"), "");
    removeState(folder);
    expect([existsSync(join(folder, "journal")), existsSync(join(folder, "mine"))]).toEqual([false, true]);
    rmSync(join(folder, "mine"));
    removeState(folder);
    expect(existsSync(folder)).toBe(false);
  });

  test("only its owner can read it", async () => {
    await begun().close();
    expect(statSync(join(folder, "journal")).mode & 0o777).toBe(0o600);
    expect(onDisk()).toEqual([]);
  });
});
