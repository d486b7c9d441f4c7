import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { journalName, socketName } from "../../../src/agent/journal/folder.ts";
import { createLogger } from "../../../src/agent/log.ts";
import { takePlace } from "../../../src/agent/succession/place.ts";
import { killAgent, writeRoll } from "../../../src/agent/succession/roll.ts";
import type { Generation } from "../../../src/model/verdict.ts";

const log = createLogger("silent");
const LONG_AGO = 1_000;
let folder: string;
const servers: Server[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sallyport-place-"));
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function living(generation: Generation): Promise<Server> {
  const server = createServer().listen(join(folder, socketName(generation)));
  servers.push(server);
  await once(server, "listening");
  return server;
}

function journal(generation: Generation, written: number): void {
  const path = join(folder, journalName(generation));
  writeFileSync(path, "");
  utimesSync(path, written, written);
}

async function taken(waiting: () => void = () => undefined) {
  const place = await takePlace(folder, log, waiting);
  place.lock?.release();
  place.predecessor?.close();
  return place;
}

describe("the generation of an agent that starts", () => {
  test("the first is 0", async () => {
    expect(await taken()).toMatchObject({ generation: 0, predecessor: null });
  });

  test("beside a living one it is the other", async () => {
    const server = await living(0);
    expect((await taken()).generation).toBe(1);
    server.close();
    await living(1);
    const { generation, predecessor } = await taken();
    expect([generation, predecessor !== null]).toEqual([0, true]);
  });

  test("after dead ones it is that of the last, whose queues the rules ask", async () => {
    journal(0, LONG_AGO);
    journal(1, LONG_AGO + 1);
    expect(await taken()).toMatchObject({ generation: 1, predecessor: null });
    journal(0, LONG_AGO + 2);
    expect((await taken()).generation).toBe(0);
  });

  test("waits while both are taken", async () => {
    const first = await living(0);
    await living(1);
    let waited = 0;
    const place = await taken(() => {
      if (++waited === 2) first.close();
    });
    expect([place.generation, waited >= 2]).toEqual([0, true]);
  });

  test("one starts at a time", async () => {
    const first = await takePlace(folder, log, () => undefined);
    let waited = 0;
    const second = await takePlace(folder, log, () => {
      if (++waited === 2) first.lock?.release();
    });
    expect(waited).toBe(2);
    second.lock?.release();
  });

  test("a folder that cannot be used is no reason not to enforce", async () => {
    writeFileSync(join(folder, "file"), "");
    expect(await takePlace(join(folder, "file", "state"), log, () => undefined)).toMatchObject({
      generation: 0,
      lock: null,
    });
  });
});

describe("an agent that hangs", () => {
  test("is killed where it is surely the one that was written down", async () => {
    const child = spawn("sleep", ["20"], { stdio: "ignore" });
    await once(child, "spawn");
    writeRoll(folder, 0, child.pid!);
    const path = join(folder, "agent-0.json");
    const roll = JSON.parse(readFileSync(path, "utf8"));
    const another = { ...roll.supervisor, started: "1" };
    writeFileSync(path, JSON.stringify({ agent: another, supervisor: null }));
    expect(killAgent(folder, 0)).toBe(false);
    writeFileSync(path, JSON.stringify({ agent: another, supervisor: roll.supervisor }));
    const dead = once(child, "exit");
    expect(killAgent(folder, 0)).toBe(true);
    expect((await dead)[1]).toBe("SIGKILL");
  });

  test.each(["", "{}", "[1]", '{"agent":{"pid":1,"started":"0"},"supervisor":null}'])(
    "no roll that says `%s`",
    (text) => {
      writeFileSync(join(folder, "agent-1.json"), text);
      expect(killAgent(folder, 1)).toBe(false);
    },
  );
});
