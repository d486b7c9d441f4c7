import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Backoff } from "../../../src/kube/backoff.ts";
import type { Change } from "../../../src/kube/changes.ts";
import { KubeClient } from "../../../src/kube/client.ts";
import { fields, type Hold, pick } from "../../../src/kube/object.ts";
import { Reflector, type ReflectorTimes } from "../../../src/kube/reflector.ts";
import { Session } from "../../../src/kube/session.ts";
import { FreezingRelay } from "../../support/freezing-relay.ts";
import { type Asked, answer, listOf, openWatch, pod, StubApiServer } from "../../support/stub-api-server.ts";

const QUICK = { firstMs: 10, longestMs: 50 };
const TIMES: ReflectorTimes = {
  watchMs: 1_800_000,
  silenceMs: 60_000,
  listSilenceMs: 60_000,
  shortMs: 5,
  absentMs: 20,
  oldDefinitionMs: 15_000,
};
const PINGS = { connectMs: 2_000, pingEveryMs: 30_000, pongMs: 15_000 };

let server: StubApiServer;
let client: KubeClient;
let reflector: Reflector;
let told: string[];
let troubles: string[];

beforeEach(async () => {
  server = await StubApiServer.start();
  told = [];
  troubles = [];
});

afterEach(async () => {
  reflector.close();
  client.close();
  await server.close();
});

interface Options {
  readonly times?: Partial<ReflectorTimes>;
  readonly pings?: Partial<typeof PINGS>;
  readonly optional?: boolean;
  readonly custom?: boolean;
  readonly hold?: Hold;
  readonly server?: string;
}

function start(options: Options = {}): void {
  const access = { ...server.access, ...(options.server === undefined ? {} : { server: options.server }) };
  client = new KubeClient(access, new Session(access, { ...PINGS, ...options.pings }, new Backoff(QUICK)));
  reflector = new Reflector(
    {
      name: "pods",
      path: "/api/v1/pods",
      fieldSelector: "spec.nodeName=node1",
      trim: (object) => ({ metadata: pick(object["metadata"], "name", "labels") }),
      optional: options.optional ?? false,
      custom: options.custom ?? false,
      ...(options.hold === undefined ? {} : { hold: options.hold }),
    },
    client,
    {
      onChanges: (changes) => told.push(changes.map(line).join(" ")),
      onSynced: () => told.push("synced"),
      onTrouble: (_, message) => troubles.push(message),
    },
    { ...TIMES, ...options.times },
    new Backoff(QUICK),
  );
  reflector.start();
}

function line(change: Change): string {
  const label = fields(fields(change.object.value["metadata"])["labels"])["label"];
  const sign = { added: "+", removed: "-", changed: "~" }[change.type];
  return `${sign}${change.object.key}/${change.object.uid}${label === "" ? "" : `=${label}`}`;
}

const query = ({ url }: Asked, name: string): string | null => url.searchParams.get(name);
const settled = (expected: readonly string[]) => vi.waitFor(() => expect(told).toEqual(expected), 5_000);

/** Lists `ns/a` at version 5 and answers the watch from there. */
async function listed(...pods: readonly object[]): Promise<ReturnType<typeof openWatch> & { asked: Asked }> {
  answer(await server.next(), listOf("5", pods));
  const asked = await server.next();
  return Object.assign(openWatch(asked), { asked });
}

describe("list and watch", () => {
  test("what is asked for, and what is kept of it", async () => {
    start();
    const list = await server.next();
    expect(list.headers["authorization"]).toBe("Bearer secret");
    expect(list.url.pathname).toBe("/api/v1/pods");
    expect(query(list, "fieldSelector")).toBe("spec.nodeName=node1");
    expect(query(list, "limit")).toBe("500");
    answer(list, listOf("v-opaque", [pod("a", "1", "x")]));
    const watch = await server.next();
    expect(query(watch, "resourceVersion")).toBe("v-opaque");
    expect(query(watch, "allowWatchBookmarks")).toBe("true");
    expect(Number(query(watch, "timeoutSeconds"))).toBeGreaterThanOrEqual(1800);
    expect(Number(query(watch, "timeoutSeconds"))).toBeLessThanOrEqual(3600);
    expect(reflector.objects.get("ns/a")?.value).toEqual({ metadata: { name: "a", labels: { label: "x" } } });
    expect(told).toEqual(["+ns/a/1=x", "synced"]);
    expect(server.connections).toBe(1);
  });

  test("changes are told; what was trimmed changes nothing", async () => {
    start();
    const say = await listed(pod("a", "1"));
    say("MODIFIED", { ...pod("a", "1", "", "6"), status: { phase: "Running" } });
    say("ADDED", pod("b", "2"));
    say("MODIFIED", pod("b", "2", "y"));
    say("DELETED", pod("a", "1"));
    await settled(["+ns/a/1", "synced", "+ns/b/2", "~ns/b/2=y", "-ns/a/1"]);
  });

  test("an object is held as the resource says, once for each content, and it says itself what is the same", async () => {
    const held: string[] = [];
    const hold: Hold = ({ key, uid, value }) => {
      const text = JSON.stringify(value);
      held.push(`${key}/${uid}`);
      return { key, uid, value, is: (other) => JSON.stringify(other) === text };
    };
    start({ hold });
    const say = await listed(pod("a", "1"), pod("b", "1"));
    await settled(["+ns/a/1 +ns/b/1", "synced"]);
    const a = reflector.objects.get("ns/a");
    say("MODIFIED", { ...pod("a", "1", "", "6"), status: { phase: "Running" } });
    say("MODIFIED", pod("a", "2", "", "7"));
    say("MODIFIED", pod("b", "1", "y", "8"));
    await settled(["+ns/a/1 +ns/b/1", "synced", "-ns/a/1 +ns/a/2", "~ns/b/1=y"]);
    const b = reflector.objects.get("ns/b");
    say.asked.stream.destroy();
    answer(await server.next(), { message: "gone" }, 410);
    answer(await server.next(), listOf("9", [pod("a", "2"), pod("b", "1", "y"), pod("c", "1")]));
    await settled(["+ns/a/1 +ns/b/1", "synced", "-ns/a/1 +ns/a/2", "~ns/b/1=y", "+ns/c/1"]);
    expect(held).toEqual(["ns/a/1", "ns/b/1", "ns/a/2", "ns/b/1", "ns/c/1"]);
    expect(reflector.objects.get("ns/a")).not.toBe(a);
    expect(reflector.objects.get("ns/b")).toBe(b);
  });

  test("a re-creation seen as one MODIFIED is a removal and an addition; its late DELETED takes nothing", async () => {
    start();
    const say = await listed(pod("a", "1"));
    say("MODIFIED", pod("a", "2"));
    say("DELETED", pod("a", "1"));
    say("ADDED", pod("b", "3"));
    await settled(["+ns/a/1", "synced", "-ns/a/1 +ns/a/2", "+ns/b/3"]);
    expect([...reflector.objects.keys()]).toEqual(["ns/a", "ns/b"]);
  });

  test("pages are put together, and one kind of moment only", async () => {
    start();
    answer(await server.next(), listOf("5", [pod("a", "1")], "page2"));
    const second = await server.next();
    expect(query(second, "continue")).toBe("page2");
    answer(second, { kind: "Status", code: 410, message: "The provided continue parameter is too old" }, 410);
    const anew = await server.next();
    expect([query(anew, "continue"), query(anew, "limit")]).toEqual([null, null]);
    answer(anew, listOf("7", [pod("b", "2")]));
    expect(query(await server.next(), "resourceVersion")).toBe("7");
    expect(told).toEqual(["+ns/b/2", "synced"]);
  });

  test("a body in the smallest pieces, with odd texts in it", async () => {
    start();
    const { stream } = await server.next();
    const odd = { ...pod("a", "1"), note: 'é "items":[{"}] \\' };
    stream.respond({ ":status": 200 });
    for (const byte of Buffer.from(JSON.stringify(listOf("5", [odd, pod("b", "2")]), null, 1)))
      stream.write(Buffer.of(byte));
    stream.end();
    await settled(["+ns/a/1 +ns/b/2", "synced"]);
  });
});

describe("the watch that ends", () => {
  test("by its time: the next goes on from the last bookmark", async () => {
    start();
    const say = await listed(pod("a", "1"));
    say("BOOKMARK", { kind: "Pod", metadata: { resourceVersion: "90" } });
    await new Promise((resolve) => setTimeout(resolve, 20));
    say.asked.stream.end();
    expect(query(await server.next(), "resourceVersion")).toBe("90");
    expect(reflector.counts).toEqual({ watchRestarts: 1, relists: 0, refused: 0 });
  });

  test.each(["HTTP", "event"])("410 as %s: listed anew, with what has changed meanwhile", async (how) => {
    start();
    const say = await listed(pod("a", "1"), pod("b", "2"), pod("c", "3"));
    const gone = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };
    if (how === "event") say("ERROR", gone);
    else {
      server.cut();
      answer(await server.next(), gone, 410);
    }
    answer(await server.next(), listOf("50", [pod("a", "9"), pod("c", "3"), pod("d", "4")]));
    expect(query(await server.next(), "resourceVersion")).toBe("50");
    expect(told.at(-1)).toBe("-ns/b/2 -ns/a/1 +ns/a/9 +ns/d/4");
    expect(reflector.counts.relists).toBe(1);
    expect(troubles.filter((text) => text.includes("too old"))).toEqual([]);
  });

  test("early and alone, of a kind that is defined in the server: listed anew, for the definition has changed", async () => {
    start({ custom: true });
    const say = await listed(pod("a", "1"));
    say("MODIFIED", pod("a", "1", "pruned", "6"));
    say.asked.stream.end();
    answer(await server.next(), listOf("6", [pod("a", "1", "whole", "6")]));
    await settled(["+ns/a/1", "synced", "~ns/a/1=pruned", "~ns/a/1=whole"]);
  });

  test("with its connection, of such a kind: it goes on, for the server has stopped", async () => {
    start({ custom: true });
    const say = await listed(pod("a", "1"));
    const { stream } = say.asked;
    stream.session?.goaway();
    stream.end();
    expect(query(await server.next(), "resourceVersion")).toBe("5");
  });

  test.each<[how: string, end: (asked: Asked) => void, times: Partial<ReflectorTimes>]>([
    ["its connection is cut", () => server.cut(), {}],
    ["its connection is to end", ({ stream }) => [stream.session?.goaway(), stream.end()], {}],
    ["its time is over", ({ stream }) => stream.end(), { watchMs: 1_000 }],
    ["it tells nonsense", ({ stream }) => stream.write("{oops}\n"), {}],
  ])(
    "just after it told an object of such a kind, when %s: listed anew, for that may have been by an old definition",
    async (_, end, times) => {
      start({ custom: true, times });
      const say = await listed(pod("a", "1"));
      say("MODIFIED", pod("a", "1", "pruned", "6"));
      await settled(["+ns/a/1", "synced", "~ns/a/1=pruned"]);
      end(say.asked);
      const list = await server.next();
      expect(query(list, "watch")).toBe(null);
      answer(list, listOf("6", [pod("a", "1", "whole", "6")]));
      await settled(["+ns/a/1", "synced", "~ns/a/1=pruned", "~ns/a/1=whole"]);
    },
  );

  test("long after it told an object of such a kind, with its connection: it goes on", async () => {
    start({ custom: true, times: { oldDefinitionMs: 10 } });
    const say = await listed(pod("a", "1"));
    say("MODIFIED", pod("a", "1", "x", "6"));
    await settled(["+ns/a/1", "synced", "~ns/a/1=x"]);
    await new Promise((resolve) => setTimeout(resolve, 30));
    server.cut();
    expect(query(await server.next(), "resourceVersion")).toBe("6");
  });

  test("cut in the midst of a line: the line is asked for again", async () => {
    start();
    const say = await listed(pod("a", "1"));
    say("ADDED", pod("b", "2", "", "6"));
    await settled(["+ns/a/1", "synced", "+ns/b/2"]);
    say.asked.stream.write('{"type":"ADDED","object":{"metadata":{"name":"c"');
    await new Promise((resolve) => setTimeout(resolve, 20));
    server.cut();
    const again = await server.next();
    expect(query(again, "resourceVersion")).toBe("6");
    openWatch(again)("ADDED", pod("c", "3", "", "7"));
    await settled(["+ns/a/1", "synced", "+ns/b/2", "+ns/c/3"]);
    expect(reflector.counts.relists).toBe(0);
  });

  test("silence: the watch is opened again from where it was", async () => {
    start({ times: { silenceMs: 100 } });
    await listed(pod("a", "1"));
    expect(query(await server.next(), "resourceVersion")).toBe("5");
    expect(troubles.join()).toContain("no word for");
  });

  test("a connection whose other end does not answer is given up", async () => {
    const relay = await FreezingRelay.to(Number(new URL(server.access.server).port));
    start({ pings: { pingEveryMs: 30, pongMs: 60 }, server: `https://127.0.0.1:${relay.port}` });
    await listed(pod("a", "1"));
    relay.freeze();
    expect(query(await server.next(), "resourceVersion")).toBe("5");
    relay.close();
    expect(client.connects).toBe(2);
  });

  test("a line that is no JSON: all is listed again, for what it said is lost", async () => {
    start();
    const say = await listed(pod("a", "1"));
    say.asked.stream.write("{oops}\n");
    answer(await server.next(), listOf("8", []));
    await settled(["+ns/a/1", "synced", "-ns/a/1"]);
    expect(reflector.counts).toMatchObject({ refused: 1, relists: 1 });
  });

  test("a line without end is cut off at its bound", async () => {
    start();
    const say = await listed(pod("a", "1"));
    for (let i = 0; i < 10; i++) say.asked.stream.write("x".repeat(1024 * 1024));
    const list = await server.next();
    expect(query(list, "watch")).toBe(null);
    expect(reflector.counts.refused).toBe(1);
  });
});

describe("a server in trouble", () => {
  test("away for long: what is known stays, nothing is listed when it comes back", async () => {
    start();
    const say = await listed(pod("a", "1"));
    say("BOOKMARK", { metadata: { resourceVersion: "42" } });
    await vi.waitFor(() => expect(reflector.heardAt).toBeGreaterThan(0));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await server.away();
    await vi.waitFor(() => expect(troubles.length).toBeGreaterThan(3), 5_000);
    expect([...reflector.objects.keys()]).toEqual(["ns/a"]);
    await server.listen();
    expect(query(await server.next(), "resourceVersion")).toBe("42");
    expect(told).toEqual(["+ns/a/1", "synced"]);
  });

  test("429 is waited for as long as it says", async () => {
    start();
    const asked = performance.now();
    answer(await server.next(), { message: "slow down" }, 429, { "retry-after": "1" });
    await server.next();
    expect(performance.now() - asked).toBeGreaterThan(950);
    expect(troubles).toEqual(["HTTP 429: slow down"]);
  });

  test("403 on a watch keeps its place", async () => {
    start();
    const say = await listed(pod("a", "1"));
    say.asked.stream.end();
    answer(await server.next(), { message: "forbidden" }, 403);
    expect(query(await server.next(), "resourceVersion")).toBe("5");
  });

  test("404 takes nothing away, and is not believed at the start", async () => {
    start();
    answer(await server.next(), { message: "the server could not find the requested resource" }, 404);
    answer(await server.next(), listOf("5", [pod("a", "1")]));
    const watch = await server.next();
    expect(told).toEqual(["+ns/a/1", "synced"]);
    answer(watch, { message: "not found" }, 404);
    answer(await server.next(), { message: "not found" }, 404);
    await server.next();
    expect([...reflector.objects.keys()]).toEqual(["ns/a"]);
    expect(reflector.absent).toBe(true);
  });

  test("404 of what is optional is none", async () => {
    start({ optional: true });
    answer(await server.next(), {}, 404);
    await settled(["synced"]);
    await server.next();
    expect(troubles).toEqual([]);
  });

  test("403 of what is optional is none too, and is said", async () => {
    start({ optional: true });
    answer(await server.next(), { message: "forbidden" }, 403);
    await settled(["synced"]);
    answer(await server.next(), listOf("5", [pod("a", "1")]));
    await settled(["synced", "+ns/a/1"]);
    expect(troubles).toEqual(["HTTP 403: forbidden"]);
  });

  test("an object of a list without a name: the list is not used", async () => {
    start();
    answer(await server.next(), listOf("5", [pod("a", "1"), { metadata: {} }]));
    answer(await server.next(), listOf("6", [pod("a", "1")]));
    await settled(["+ns/a/1", "synced"]);
    expect(reflector.counts.refused).toBe(1);
  });

  test("watches that end at once, again and again, lead to a list", async () => {
    start({ times: { shortMs: 10_000 } });
    await listed(pod("a", "1"));
    for (let i = 0; i < 5; i++) {
      if (i > 0) openWatch(await server.next());
      server.cut();
    }
    let asked = await server.next();
    for (let i = 0; i < 20 && query(asked, "watch") !== null; i++) {
      openWatch(asked);
      asked.stream.end();
      asked = await server.next();
    }
    expect(query(asked, "watch")).toBe(null);
  });
});
