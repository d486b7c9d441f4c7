import { describe, expect, test } from "vitest";
import { createLogger } from "../../../src/agent/log.ts";
import { DenialEvents, EVENT_LIMITS } from "../../../src/controller/denial-events.ts";
import { type DenialText, eventName, eventObject, noteOf } from "../../../src/controller/event-object.ts";
import { KubeError, type Writing } from "../../../src/kube/client.ts";

const log = createLogger("silent");
const denial = (change: Partial<DenialText> = {}): DenialText => ({
  ...{ namespace: "team", pod: "app-1", podUid: "u1", reason: "DefaultDeny", destination: "TCP api.example:443" },
  ...{ count: 1, firstSeen: "2026-01-01T00:00:00Z", lastSeen: new Date().toISOString() },
  ...change,
});

/** An API server's Events, and what was sent to it. */
class Events {
  readonly sent: string[] = [];
  readonly there = new Set<string>();
  /** Status of every answer; null: as things are. */
  refuse: number | null = null;

  async write({ method, path, body }: Writing): Promise<string> {
    const object = JSON.parse(body);
    const key = method === "POST" ? `${path}/${object.metadata.name}` : path;
    const status =
      this.refuse ?? (this.there.has(key) === (method === "POST") ? (method === "POST" ? 409 : 404) : null);
    this.sent.push(`${method} x${object.series?.count ?? 1}${status === null ? "" : `: ${status}`}`);
    if (status !== null) throw new KubeError(status, "no");
    this.there.add(key);
    return "";
  }
}

const quick = { ...EVENT_LIMITS, everyMs: 0 };

function opened(limits = quick) {
  const server = new Events();
  const state = { leads: true };
  const events = new DenialEvents(server, () => state.leads, "controller-1", log, limits);
  return { server, state, events };
}

const settled = (events: DenialEvents, count: number) =>
  expect.poll(() => events.counts.written + events.counts.failed + events.counts.leftOut).toBe(count);

describe("what an Event says", () => {
  test.each<[Partial<DenialText>, string]>([
    [{}, "denied TCP api.example:443: no rule allows it (DefaultDeny)"],
    [
      { policy: "EgressPolicy/team/own", rule: "ssh", reason: "RuleMatched", destination: "TCP 192.0.2.1:22" },
      "denied TCP 192.0.2.1:22: a rule denies it (RuleMatched), by EgressPolicy/team/own, rule ssh",
    ],
    [{ reason: "OfALaterVersion" }, "denied TCP api.example:443: OfALaterVersion"],
  ])("%#", (change, note) => {
    expect(noteOf(denial(change))).toBe(note);
  });

  test("is one line of no more bytes than an API server takes", () => {
    const long = denial({
      destination: `\u001b[31m${"\u4e00".repeat(290)}`,
      policy: `EgressPolicy/${"p".repeat(500)}`,
      rule: "r",
    });
    expect(noteOf(long)).not.toMatch(/\p{Cc}|\ufffd/u);
    expect(Buffer.byteLength(noteOf(long))).toBeLessThanOrEqual(1_024);
  });

  test("is about the pod, and counts", () => {
    expect(eventObject(denial({ count: 3, lastSeen: "2026-01-01T00:01:00Z" }), "controller-1")).toMatchObject({
      apiVersion: "events.k8s.io/v1",
      metadata: { namespace: "team", name: expect.stringMatching(/^app-1\.[0-9a-f]{16}$/) },
      eventTime: "2026-01-01T00:00:00.000000Z",
      reason: "EgressDenied",
      regarding: { kind: "Pod", namespace: "team", name: "app-1", uid: "u1" },
      series: { count: 3, lastObservedTime: "2026-01-01T00:01:00.000000Z" },
    });
    expect(eventObject(denial(), "controller-1")).not.toHaveProperty("series");
  });

  test("is one of its own for each pod, destination and rule, with a name that may be", () => {
    const names = [
      denial(),
      denial({ podUid: "u2" }),
      denial({ destination: "ICMP 192.0.2.1" }),
      denial({ rule: "a" }),
    ];
    expect(new Set(names.map(eventName)).size).toBe(4);
    expect(eventName(denial({ count: 9, lastSeen: "2026-01-01T00:09:00Z" }))).toBe(eventName(denial()));
    const long = eventName(denial({ pod: `${"a".repeat(235)}.b` }));
    expect(long).toMatch(/^a{235}\.[0-9a-f]{16}$/);
  });
});

describe("Events", () => {
  test("one is made, then counted on; nothing is written for what has not changed", async () => {
    const { server, events } = opened();
    events.changed([], [denial()]);
    await settled(events, 1);
    events.changed([denial()], [denial()]);
    events.changed([denial()], [denial({ count: 5 })]);
    await settled(events, 2);
    expect(server.sent).toEqual(["POST x1", "PATCH x5"]);
  });

  test("one that another replica made is counted on, one that has run out is made anew", async () => {
    const { server, events } = opened();
    const first = opened();
    first.events.changed([], [denial()]);
    await settled(first.events, 1);
    for (const key of first.server.there) server.there.add(key);
    events.changed([], [denial({ count: 2 })]);
    await settled(events, 1);
    server.there.clear();
    events.changed([], [denial({ count: 3 })]);
    await settled(events, 2);
    expect(server.sent).toEqual(["POST x2: 409", "PATCH x2", "PATCH x3: 404", "POST x3"]);
  });

  test("who begins to lead tells of what is recent", async () => {
    const { server, state, events } = opened();
    state.leads = false;
    events.changed([], [denial()]);
    state.leads = true;
    events.lookAgain([denial(), denial({ podUid: "u2", lastSeen: "2026-01-01T00:00:00Z" })]);
    await settled(events, 1);
    expect(server.sent).toEqual(["POST x1"]);
  });

  test("a pod has so much room, others have theirs", async () => {
    const { server, events } = opened({ ...quick, ofPod: 3 });
    const many = Array.from({ length: 10 }, (_, i) => denial({ destination: `TCP 192.0.2.1:${i}` }));
    events.changed([], [...many, denial({ podUid: "u2" })]);
    await settled(events, 11);
    expect(events.counts).toEqual({ written: 4, failed: 0, leftOut: 7 });
    expect(server.sent).toHaveLength(4);
  });

  test("so many wait; more are counted", async () => {
    const { events } = opened({ ...quick, waiting: 2 });
    events.changed(
      [],
      Array.from({ length: 10 }, (_, i) => denial({ podUid: `u${i}` })),
    );
    await settled(events, 10);
    expect(events.counts).toEqual({ written: 2, failed: 0, leftOut: 8 });
  });

  test("who does not lead any more writes nothing", async () => {
    const { server, state, events } = opened({ ...quick, everyMs: 20 });
    events.changed([], [denial(), denial({ podUid: "u2" })]);
    state.leads = false;
    await events.close();
    expect(server.sent.length).toBeLessThan(2);
  });

  test("a server that refuses is counted, and the next is tried", async () => {
    const { server, events } = opened();
    server.refuse = 403;
    events.changed([], [denial()]);
    await settled(events, 1);
    server.refuse = null;
    events.changed([], [denial({ podUid: "u2" })]);
    await settled(events, 2);
    expect(events.counts).toEqual({ written: 1, failed: 1, leftOut: 0 });
  });
});
