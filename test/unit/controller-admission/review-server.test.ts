import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createLogger } from "../../../src/agent/log.ts";
import { makeServingPair } from "../../../src/controller/admission/certificate.ts";
import { REVIEW_JUDGE_LIMITS, ReviewJudge } from "../../../src/controller/admission/review-judge.ts";
import { REVIEW_LIMITS, ReviewServer } from "../../../src/controller/admission/review-server.ts";
import { API_VERSION } from "../../../src/policy/schema.ts";

const NAME = "sallyport-webhook.sallyport.svc";
const [group, version] = API_VERSION.split("/");
const pair = makeServingPair(NAME, 600_000, Date.now());
const log = createLogger("silent");
const ports = [{ protocol: "TCP", port: 443 }];

const review = (uid: string, spec: unknown) =>
  JSON.stringify({
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid,
      kind: { group, version, kind: "EgressPolicy" },
      operation: "CREATE",
      object: { apiVersion: API_VERSION, kind: "EgressPolicy", metadata: { name: "a", namespace: "team" }, spec },
    },
  });
const allow = (to: object) => ({ rules: [{ name: "a", action: "Allow", to: [to] }] });
const GOOD = allow({ domains: ["a.example"], ports });
/** Some seconds of work. */
/** As long as it may be. */
const DEAR = {
  rules: Array.from({ length: 128 }, (_, r) => ({
    name: `r${r}`,
    action: "Allow",
    to: Array.from({ length: 16 }, () => ({
      domains: Array.from({ length: 200 }, (_, k) => `a${k}.b.example`),
      ports: [{ protocol: "TCP", port: 80 }],
    })),
  })),
};

let judge: ReviewJudge;
let server: ReviewServer;

async function open(limits = {}): Promise<void> {
  const all = { ...REVIEW_LIMITS, leaveMs: 0, ...limits };
  server = new ReviewServer(
    { kind: "tcp", host: "127.0.0.1", port: 0 },
    (body, from, gone) => judge.judge(body, from, gone),
    log,
    all,
  );
  server.use(pair);
  await expect.poll(() => server.listening).toBe(true);
}

async function openJudge(limits = {}): Promise<void> {
  judge = new ReviewJudge(log, { ...REVIEW_JUDGE_LIMITS, ...limits });
  judge.setGroups(new Map());
}

beforeAll(() => openJudge());
afterAll(() => judge.close());
beforeEach(() => open());
afterEach(() => server.close());

/** An end by a reset is one as well. */
const closed = (socket: Socket): Promise<unknown> => new Promise((resolve) => socket.once("close", resolve));

interface Sent {
  readonly body?: string;
  readonly path?: string;
  readonly method?: string;
  readonly ca?: string;
  /** The address that it is sent from. */
  readonly from?: string;
}

/** Status and body; a status of 0: no answer. */
async function send(what: Sent): Promise<[number, string]> {
  const { body = "", path = "/validate", method = "POST", ca = pair.ca, from = "127.0.0.1" } = what;
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const at = { host: "127.0.0.1", port: server.port, localAddress: from };
  const options = { ...at, servername: NAME, path, method, ca, headers, agent: false };
  const sent = request(options);
  sent.end(body);
  try {
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    sent.on("error", () => undefined);
    let text = "";
    for await (const chunk of response) text += String(chunk);
    return [response.statusCode ?? 0, text];
  } catch (error) {
    return [0, (error as NodeJS.ErrnoException).code ?? String(error)];
  }
}

async function judged(spec: unknown): Promise<unknown> {
  const [status, text] = await send({ body: review("u", spec) });
  return status === 200 ? JSON.parse(text).response : [status, text];
}

describe("the server that API servers ask", () => {
  test("judges", async () => {
    expect(await judged(GOOD)).toEqual({ uid: "u", allowed: true });
    expect(await judged(allow({ domains: ["A.example"], ports }))).toMatchObject({ allowed: false });
    expect(await judged(allow({ group: "none", ports }))).toMatchObject({
      warnings: [expect.stringContaining("there is no group `none`")],
    });
    expect(server.counts).toEqual({ allowed: 2, denied: 1, refused: 0 });
  });

  test("knows the groups that it was told of", async () => {
    judge.setGroups(new Map([["names", { domains: { length: 3 } }]]));
    expect(await judged(allow({ group: "names", ports }))).toEqual({ uid: "u", allowed: true });
    expect(await judged(allow({ group: "names" }))).toMatchObject({
      warnings: [expect.stringContaining("without `ports`")],
    });
  });

  test.each<[string, Sent, number]>([
    ["another path", { path: "/metrics" }, 404],
    ["another method", { method: "GET" }, 405],
    ["no JSON", { body: "{" }, 400],
    ["no review", { body: "{}" }, 400],
    ["a body without end", { body: "[".repeat(200_000) }, 400],
    ["nested lists", { body: `${"[".repeat(200_000)}${"]".repeat(200_000)}` }, 400],
    ["more than a review can have", { body: " ".repeat(REVIEW_LIMITS.bodyBytes + 1) }, 413],
  ])("%s: refused, and the next is judged", async (_, sent, status) => {
    // Who is refused in the midst of a body may see the connection end before the answer.
    expect([status, 0]).toContain((await send(sent))[0]);
    expect(server.counts.refused).toBe(1);
    expect(await judged(GOOD)).toEqual({ uid: "u", allowed: true });
  });

  /** Begins a review and sends so much of it. Resolves with the status that it got, 0 for none, when it is over. */
  function begin(from: string, bytes: number): { readonly over: Promise<number>; end(): void } {
    const at = { host: "127.0.0.1", port: server.port, localAddress: from, agent: false };
    const slow = request({ ...at, servername: NAME, path: "/validate", method: "POST", ca: pair.ca });
    const over = new Promise<number>((resolve) => {
      slow.on("response", (response: IncomingMessage) => resolve(response.resume().statusCode ?? 0));
      slow.on("error", () => resolve(0));
    });
    slow.write("a".repeat(bytes));
    return { over, end: () => void slow.destroy() };
  }

  test("of those who send at once, whoever sends most gives way", async () => {
    await server.close();
    await open({ allBytes: 100_000 });
    const body = review("u", { ...GOOD, pad: "a".repeat(30_000) });
    const first = begin("127.0.0.2", 45_000);
    await expect.poll(() => server.bytes).toBe(45_000);
    const second = begin("127.0.0.2", 45_000);
    await expect.poll(() => server.bytes).toBe(90_000);
    // There is no room left, and 127.0.0.2 has more than its part.
    expect((await send({ body }))[0]).toBe(200);
    expect([503, 0]).toContain(await second.over);
    // Who waits longest keeps its place, and whoever would have the most himself is not let in.
    expect((await send({ body: review("u", { ...GOOD, pad: "a".repeat(60_000) }) }))[0]).not.toBe(200);
    first.end();
    await first.over;
    expect((await send({ body: review("u", { ...GOOD, pad: "a".repeat(60_000) }) }))[0]).toBe(200);
  });

  test("many who hold all that there is do not keep out who asks for little", async () => {
    await server.close();
    await open({ allBytes: 100_000 });
    const many = Array.from({ length: 20 }, (_, i) => begin(`127.0.0.${10 + i}`, 5_000));
    await expect.poll(() => server.bytes).toBe(100_000);
    for (let i = 0; i < 5; i++) expect((await send({ body: review("u", GOOD) }))[0]).toBe(200);
    for (const one of many) one.end();
  });

  test("a review that gave way while it waited to be judged is not kept", async () => {
    const gone = new AbortController();
    const body = Buffer.from(review("u", GOOD));
    const order: string[] = [];
    const ask = (name: string, signal?: AbortSignal) =>
      judge.judge(body, "a", signal).then((result) => order.push(`${name} ${result === null ? "gone" : "judged"}`));
    const asked = [ask("first"), ask("second", gone.signal), ask("third")];
    gone.abort();
    await Promise.all([...asked, ask("late", gone.signal)]);
    expect(order).toEqual(["second gone", "late gone", "first judged", "third judged"]);
  });

  async function connections(from: string, count: number): Promise<Socket[]> {
    const sockets: Socket[] = [];
    for (let i = 0; i < count; i++) {
      const socket = connect({ port: server.port, host: "127.0.0.1", localAddress: from });
      socket.on("error", () => undefined);
      await once(socket, "connect");
      sockets.push(socket);
    }
    await pause(50);
    return sockets;
  }

  test("one address cannot have all connections", async () => {
    await server.close();
    await open({ connectionsOfOne: 3 });
    const sockets = await connections("127.0.0.1", 3);
    expect((await send({ body: review("u", GOOD) }))[0]).toBe(0);
    for (const socket of sockets) socket.destroy();
    await expect.poll(() => judged(GOOD)).toEqual({ uid: "u", allowed: true });
  });

  test("nor can many: who comes takes the place of whoever has most", async () => {
    await server.close();
    await open({ connections: 6, connectionsOfOne: 3 });
    const sockets = [...(await connections("127.0.0.2", 3)), ...(await connections("127.0.0.3", 3))];
    expect((await send({ body: review("u", GOOD), from: "127.0.0.4" }))[0]).toBe(200);
    await expect.poll(() => sockets.filter(({ closed }) => closed).length).toBe(1);
    for (const socket of sockets) socket.destroy();
  });

  test("who says nothing is not waited for", async () => {
    await server.close();
    await open({ requestMs: 300 });
    const silent = connect(server.port, "127.0.0.1")
      .on("error", () => undefined)
      .resume();
    await closed(silent);
    const halting = connectTls({ host: "127.0.0.1", port: server.port, servername: NAME, ca: pair.ca });
    halting.on("error", () => undefined).resume();
    await once(halting, "secureConnect");
    halting.write("POST /validate HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{");
    await closed(halting);
    expect(await judged(GOOD)).toEqual({ uid: "u", allowed: true });
  });

  test("another certificate is served to who comes next, and whoever is there goes on", async () => {
    const other = makeServingPair(NAME, 600_000, Date.now());
    const old = connectTls({ host: "127.0.0.1", port: server.port, servername: NAME, ca: pair.ca });
    await once(old, "secureConnect");
    server.use(other);
    expect((await send({ body: review("u", GOOD) }))[0]).toBe(0);
    expect((await send({ body: review("u", GOOD), ca: other.ca }))[0]).toBe(200);
    old.write(`POST /validate HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}`);
    const [answer] = (await once(old, "data")) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 /);
    old.destroy();
  });
});

describe("a review that costs too much", () => {
  test("is given up, those behind it are judged, and this thread goes on", async () => {
    await judge.close();
    await openJudge({ judgeMs: 400 });
    let turns = 0;
    const turning = setInterval(() => turns++, 10);
    const dear = send({ body: review("dear", DEAR) });
    await pause(50);
    const behind = judged(GOOD);
    expect((await dear)[0]).toBe(503);
    expect(await behind).toEqual({ uid: "u", allowed: true });
    expect(judge.givenUp).toBe(1);
    expect(turns).toBeGreaterThan(5);
    clearInterval(turning);
  });

  test("does not keep who asks from elsewhere waiting for more than one", async () => {
    await judge.close();
    await openJudge({ waiting: 3 });
    const body = Buffer.from(review("u", GOOD));
    const order: string[] = [];
    const ask = async (from: string) => {
      const result = await judge.judge(body, from);
      order.push(`${from} ${result === null ? "refused" : "judged"}`);
    };
    await Promise.all([ask("flood"), ask("flood"), ask("flood"), ask("flood"), ask("flood"), ask("api")]);
    // The first is judged at once, three may wait.
    expect(order).toEqual([
      "flood refused",
      "flood judged",
      "flood judged",
      "api judged",
      "flood judged",
      "flood judged",
    ]);
  });
});
