import type { ClientHttp2Session } from "node:http2";
import { Duplex } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { KubeClient } from "../../../src/kube/client.ts";
import { Session } from "../../../src/kube/session.ts";

const ACCESS = {
  ...{ server: "https://127.0.0.1:1", serverName: null, ca: null, certificate: null, key: null },
  token: { text: "secret" },
};

/** A stream of HTTP/2 as Node shows it. */
class Stream extends Duplex {
  readonly rstCode = 0;
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
}

/**
 * Node also reads what has arrived while a request is written. Its event `response` comes in the next turn then, and the body that
 * came in one piece with the headers before it.
 */
test("the beginning of a body that comes before its headers is not lost", async () => {
  const stream = new Stream();
  class Connected extends Session {
    override async get(): Promise<ClientHttp2Session> {
      return { request: () => stream } as unknown as ClientHttp2Session;
    }
  }
  const client = new KubeClient(ACCESS, new Connected(ACCESS));
  let body = "";
  const reading = client.read({
    path: "/",
    onChunk: (chunk) => {
      body += chunk.toString();
    },
    silenceMs: 1_000,
    signal: new AbortController().signal,
  });
  await turn();
  stream.push('{"type":"MODIFIED"}\n');
  await turn();
  stream.emit("response", { ":status": 200 });
  stream.push('{"type":"BOOKMARK"}\n');
  stream.push(null);
  await reading;
  expect(body).toBe('{"type":"MODIFIED"}\n{"type":"BOOKMARK"}\n');
});
