import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { createLogger } from "../../../src/agent/log.ts";
import { MetricsServer, plain } from "../../../src/agent/metrics/server.ts";
import { ask, parseAgentAddress } from "../../../src/cli/status-request.ts";

const folder = mkdtempSync(join(tmpdir(), "sallyport-metrics-"));
const path = join(folder, "agent.sock");
const running: { close(): unknown }[] = [];

afterEach(async () => {
  for (const one of running.splice(0)) await one.close();
  rmSync(path, { force: true });
});

async function serve(
  routes: Readonly<Record<string, () => ReturnType<typeof plain>>> = { "/status": () => plain(200, "well") },
) {
  const pace = { requestMs: 600, tryAgainMs: 300 };
  const paths = new Map(Object.entries(routes));
  const server = new MetricsServer({ kind: "unix", path }, paths, createLogger("silent"), pace);
  server.start();
  running.push(server);
}

function status(): Promise<string> {
  return ask(parseAgentAddress(`unix:${path}`), "/status");
}

/** Sends raw bytes and returns all that comes back until the other side closes. */
async function raw(text: string): Promise<string> {
  const socket = connect({ path });
  let answer = "";
  socket.setEncoding("utf8").on("data", (piece: string) => {
    answer += piece;
  });
  socket.on("error", () => undefined);
  socket.write(text);
  await once(socket, "close");
  return answer;
}

async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = 60; ; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

describe("the server", () => {
  test("answers GET and HEAD on its paths and nothing else", async () => {
    await serve();
    expect(await eventually(status)).toBe("well\n");
    expect(await raw("HEAD /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).toMatch(
      /^HTTP\/1.1 200 [\s\S]*\r\n\r\n$/,
    );
    expect(await raw("DELETE /status HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/^HTTP\/1.1 405 [\s\S]*Allow: GET, HEAD/);
    expect(await raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/^HTTP\/1.1 404 /);
    expect(await raw("GET /status HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")).toMatch(/^HTTP\/1.1 400 /);
    expect(await raw(`GET /status HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(10_000)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /);
    expect(await raw("\u0016\u0003\u0001 nonsense\r\n\r\n")).toMatch(/^HTTP\/1.1 400 /);
    expect(await status()).toBe("well\n");
  });

  test("a request that never ends is given up", async () => {
    await serve();
    await eventually(status);
    const started = performance.now();
    await raw("GET /status HTTP/1.1\r\nHost");
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  test("a page that fails is an answer, too", async () => {
    await serve({
      "/status": () => {
        throw new Error("broken");
      },
    });
    await eventually(() => raw("GET /status HTTP/1.1\r\nHost: x\r\n\r\n"));
    expect(await raw("GET /status HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/^HTTP\/1.1 500 [\s\S]*broken\n$/);
  });

  test("an address that is taken is tried again, and a file that is no socket stays", async () => {
    const other = createServer().listen(path);
    await once(other, "listening");
    await serve();
    await new Promise((resolve) => setTimeout(resolve, 100));
    await new Promise((resolve) => other.close(resolve));
    expect(await eventually(status)).toBe("well\n");
    for (const one of running.splice(0)) await one.close();
    writeFileSync(path, "mine");
    await serve();
    await new Promise((resolve) => setTimeout(resolve, 200));
    await expect(status()).rejects.toThrow(/no agent answers at/);
  });
});

test("nobody there is one line that says what to do", async () => {
  await expect(ask(parseAgentAddress("http://127.0.0.1:1"), "/status")).rejects.toThrow(
    /^no agent answers at `127\.0\.0\.1:1` \(ECONNREFUSED\): is it running/,
  );
  expect(() => parseAgentAddress("https://node")).toThrow(/write http:\/\/ADDRESS:PORT or unix:\/path/);
});
