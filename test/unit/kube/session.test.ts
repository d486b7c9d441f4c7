import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ClusterAccess } from "../../../src/kube/access.ts";
import { Session } from "../../../src/kube/session.ts";

const NOBODY = { ca: null, certificate: null, key: null, token: null };

/** Takes connections and says nothing, so that none is ever made whole. */
let server: Server;
let access: ClusterAccess;

beforeEach(async () => {
  server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  access = { server: `https://127.0.0.1:${port}`, serverName: null, ...NOBODY };
});

afterEach(() => {
  server.close();
});

test("a connection that is being made ends when the session is closed", async () => {
  const arrived = once(server, "connection") as Promise<[Socket]>;
  const session = new Session(access);
  const waiting = session.get(NOBODY).catch((error: unknown) => error);
  const [socket] = await arrived;
  // Whoever is cut off in a handshake may be told so by a reset.
  socket.on("error", () => undefined).resume();
  const ended = once(socket, "close");
  session.close();
  expect(await waiting).toEqual(new Error("the connection was closed"));
  await ended;
  expect(session.open).toBe(false);
});

test("a closed session makes no connection", async () => {
  const session = new Session(access);
  session.close();
  await expect(session.get(NOBODY)).rejects.toThrow("closed");
});
