import { mkdtempSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createLogger } from "../../../src/agent/log.ts";
import { Predecessor } from "../../../src/agent/succession/predecessor.ts";
import { Retirement } from "../../../src/agent/succession/retirement.ts";

let folder: string;
let path: string;
let old: Retirement;
let said: string[];
let answers = true;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sallyport-retirement-"));
  path = join(folder, "agent-0.sock");
  said = [];
  answers = true;
  old = new Retirement(
    path,
    {
      retire: () => {
        said.push("retire");
        return answers ? Promise.resolve() : new Promise(() => undefined);
      },
      installed: () => said.push("installed"),
      resume: async () => void said.push("resume"),
      abandoned: () => said.push("abandoned"),
    },
    createLogger("silent"),
  );
  await old.listen();
});
afterEach(() => {
  old.close();
  rmSync(folder, { recursive: true });
});

const settle = () => new Promise((resolve) => setTimeout(resolve, 50));

describe("a hand-over", () => {
  test("word by word", async () => {
    const next = (await Predecessor.find(path))!;
    next.onLeaving = () => {
      said.push("leaving");
      next.alone();
    };
    next.onGone = () => said.push("gone");
    expect(await next.retire(500)).toBe(true);
    next.installed();
    await settle();
    await old.leave();
    old.close();
    await settle();
    expect(said).toEqual(["retire", "installed", "leaving", "gone"]);
  });

  test("the old one goes on when the new one dies before its rules are in place", async () => {
    const next = (await Predecessor.find(path))!;
    await next.retire(500);
    next.close();
    await settle();
    expect(said).toEqual(["retire", "resume"]);
  });

  test("when it dies after that, another may come and go on", async () => {
    const next = (await Predecessor.find(path))!;
    await next.retire(500);
    next.installed();
    await settle();
    next.close();
    await settle();
    expect(old.lost).toBe(true);
    const again = (await Predecessor.find(path))!;
    await settle();
    expect(old.lost).toBe(false);
    expect(await again.retire(500)).toBe(true);
    again.close();
    expect(said).toEqual(["retire", "installed", "retire"]);
  });

  test("one that does not answer is told from one that is gone", async () => {
    answers = false;
    const next = (await Predecessor.find(path))!;
    expect(await next.retire(100)).toBe(false);
    expect(next.gone).toBe(false);
    old.close();
    expect(await next.retire(1_000)).toBe(true);
    expect(next.gone).toBe(true);
    expect(await Predecessor.find(path)).toBe(null);
  });

  test("who looks only, or talks nonsense, changes nothing", async () => {
    expect(statSync(path).mode & 0o077).toBe(0);
    (await Predecessor.find(path))!.close();
    const rude = connect(path);
    rude.on("error", () => undefined);
    rude.write("installed\nalone\nretiring\n\n\u0000\n");
    rude.write("x".repeat(10_000));
    await settle();
    expect(rude.destroyed || rude.readableEnded).toBe(true);
    expect(said).toEqual([]);
  });
});
