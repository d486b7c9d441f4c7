import { afterEach, beforeEach, expect, test } from "vitest";
import { createLogger } from "../../../src/agent/log.ts";
import type { ServingPair } from "../../../src/controller/admission/certificate.ts";
import { CertificateKeeper } from "../../../src/controller/admission/certificate-keeper.ts";
import { rotationTimes } from "../../../src/controller/admission/rotation.ts";
import { KubeClient } from "../../../src/kube/client.ts";
import { answer, listOf, openWatch, StubApiServer } from "../../support/stub-api-server.ts";

let server: StubApiServer;
let client: KubeClient;
beforeEach(async () => {
  server = await StubApiServer.start();
  client = new KubeClient(server.access);
});
afterEach(async () => {
  client.close();
  await server.close();
});

interface Written {
  readonly path: string;
  readonly body: { readonly metadata?: unknown; readonly data?: Readonly<Record<string, string | null>> };
}

/** Answers as an API server that holds an empty Secret and a configuration without CA, until `stop`. */
function serve(written: Written[]): void {
  const metadata = (name: string) => ({ name, uid: name, resourceVersion: "7" });
  const secret: Record<string, unknown> = { metadata: { ...metadata("sallyport-webhook"), namespace: "sallyport" } };
  let tell: ((type: string, object: unknown) => void) | null = null;
  void (async () => {
    for (;;) {
      const asked = await server.next();
      const { pathname, searchParams } = asked.url;
      const secrets = pathname.includes("/secrets");
      if (asked.method === "PATCH") {
        const chunks: Buffer[] = [];
        for await (const chunk of asked.stream) chunks.push(chunk as Buffer);
        const body = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Written["body"];
        written.push({ path: pathname, body });
        answer(asked, {});
        if (secrets) tell?.("MODIFIED", { ...secret, data: body.data });
      } else if (searchParams.get("watch") !== null) {
        const one = openWatch(asked);
        if (secrets) tell = one;
      } else answer(asked, listOf("7", [secrets ? secret : { metadata: metadata("sallyport"), webhooks: [] }]));
    }
  })();
}

function keeper(onPair: (pair: ServingPair) => void, leaderMs: number): CertificateKeeper {
  const log = createLogger("silent");
  const times = rotationTimes(90 * 86_400_000);
  return new CertificateKeeper({ client, namespace: "sallyport", times, leads: () => false, leaderMs, onPair, log });
}

test("where whoever leads makes no certificate, a replica that waits for the first makes it: it would never be ready", async () => {
  const written: Written[] = [];
  serve(written);
  let one: CertificateKeeper | null = null;
  const pair = await new Promise<ServingPair>((resolve) => {
    one = keeper(resolve, 100);
    one.start();
  });
  await one!.close();
  expect(written.map(({ path }) => path)).toEqual(["/api/v1/namespaces/sallyport/secrets/sallyport-webhook"]);
  expect(written[0]?.body.metadata).toEqual({ resourceVersion: "7" });
  expect(Buffer.from(written[0]?.body.data?.["tls.crt"] ?? "", "base64").toString()).toContain(pair.certificate);
});

test("it leaves that to whoever leads for a while", async () => {
  const written: Written[] = [];
  serve(written);
  const one = keeper(() => undefined, 60_000);
  one.start();
  await expect.poll(() => one.reflectors.every(({ synced }) => synced)).toBe(true);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await one.close();
  expect(written).toEqual([]);
});
