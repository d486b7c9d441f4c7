import fc from "fast-check";
import { expect, test } from "vitest";
import { STATE } from "../../../src/model/verdict.ts";
import { ascii, clientHello } from "../../support/hello.ts";
import { runs } from "../../support/runs.ts";
import { type Talk, Transcript, WEB } from "./transcript.ts";

/**
 * The receiver of a hostile sender may keep the first copy of a byte or the last, and may miss any packet (low TTL, a stale
 * timestamp). So what it reads is only sure if no two packets that got away disagree on any inspected byte.
 */
interface Copy {
  readonly at: number;
  readonly bytes: Uint8Array;
}

const segment = fc.record({
  from: fc.nat(250),
  size: fc.integer({ min: 1, max: 120 }),
  evil: fc.boolean(),
  acknowledge: fc.nat(5),
});

function attack(
  t: Transcript,
  talk: Talk,
  good: Uint8Array,
  bad: Uint8Array,
  base: number,
  steps: readonly { from: number; size: number; evil: boolean; acknowledge: number }[],
): Copy[] {
  const passed: Copy[] = [];
  const sent = new Map<number, Copy>();
  for (const one of steps) {
    const source = one.evil ? bad : good;
    const from = one.from % source.length;
    const bytes = source.slice(from, Math.min(source.length, from + one.size));
    sent.set(talk.client(bytes, { at: base + from }), { at: from, bytes });
    if (one.acknowledge === 5) t.wait(120);
  }
  t.wait(40_000);
  for (const id of t.passed) {
    const copy = sent.get(id);
    if (copy !== undefined) passed.push(copy);
  }
  return passed;
}

/** What was read at each offset; null: two copies disagree. */
function agreed(copies: readonly Copy[], length: number): (number | undefined)[] | null {
  const seen = new Array<number | undefined>(length).fill(undefined);
  for (const { at, bytes } of copies) {
    for (let i = 0; i < bytes.length; i++) {
      if (seen[at + i] !== undefined && seen[at + i] !== bytes[i]) return null;
      seen[at + i] = bytes[i];
    }
  }
  return seen;
}

test("property: no receiver, whichever copies it keeps, reads a hello that was not inspected (EVASION 4-10)", () => {
  const good = clientHello({ names: ["api.github.com"] });
  const bad = clientHello({ names: ["evil.example.m"] });
  expect(bad.length).toBe(good.length);
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 40 }), (steps) => {
      const t = new Transcript();
      t.bind("api.github.com", WEB);
      const talk = t.talk();
      talk.open();
      const seen = agreed(attack(t, talk, good, bad, 0, steps), good.length);
      expect(seen).not.toBeNull();
      expect(seen!.every((byte, i) => byte === bad[i])).toBe(false);
    }),
    { numRuns: runs(500) },
  );
});

test("property: the same for a second request on a kept connection (EVASION 39)", () => {
  const head = (path: string) =>
    ascii(`GET ${path} HTTP/1.1\r\nHost: api.example.com\r\nAccept: text/html, text/plain\r\n\r\n`);
  const good = head("/ok/a");
  const bad = head("/no/a");
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 40 }), (steps) => {
      const t = new Transcript();
      t.bind("api.example.com", WEB);
      const talk = t.talk({ port: 80 });
      talk.open();
      talk.client(head("/ok/b"));
      talk.acknowledge();
      talk.remembered = STATE.http;
      const seen = agreed(attack(t, talk, good, bad, talk.clientNext, steps), good.length);
      expect(seen).not.toBeNull();
      expect(seen!.every((byte, i) => byte === bad[i])).toBe(false);
    }),
    { numRuns: runs(500) },
  );
});
