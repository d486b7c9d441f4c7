import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import type { Cluster } from "./cluster.ts";
import { podObject } from "./pods.ts";
import { type Library, PROBES_IMAGE, probesImage } from "./probes.ts";
import { sharedRelease } from "./shared-release.ts";

const CLIENTS = "resolvers";
const OTHERS = "resolvers-else";
const POLICY = {
  apiVersion: "sallyport.dev/v1alpha1",
  kind: "ClusterEgressPolicy",
  metadata: { name: "resolvers" },
  spec: {
    tier: "Admin",
    priority: 50,
    defaultDeny: true,
    subject: { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": CLIENTS } } },
    rules: [
      {
        name: "github",
        action: "Allow",
        to: [{ domains: ["api.github.com"], ports: [{ protocol: "TCP", port: 80 }] }],
      },
    ],
  },
};

let cluster: Cluster;
let lab: Lab;

/** What the probe of this C library says: see probes/reach.c. */
async function reached(library: Library, name: string, port: number, family: string): Promise<string> {
  const { stdout, stderr } = await cluster.exec(CLIENTS, "client", [`/reach-${library}`, name, String(port), family]);
  return (stdout || stderr).trim();
}

/** A Service of both families in front of one pod. */
function site(namespace: string): object[] {
  const command = ["httpd", "-f", "-p", "8080", "-h", "/etc"];
  return [
    podObject("web", { namespace, labels: { app: "web" }, command }),
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web", namespace },
      spec: {
        selector: { app: "web" },
        ipFamilyPolicy: "RequireDualStack",
        ports: [{ port: 80, targetPort: 8080 }],
      },
    },
  ];
}

beforeAll(async () => {
  ({ cluster, lab } = await sharedRelease());
  await cluster.importImage(await probesImage());
  await cluster.apply([CLIENTS, OTHERS].map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } })));
  await cluster.apply([
    POLICY,
    podObject("client", { namespace: CLIENTS, image: PROBES_IMAGE, searches: ["corp.example"] }),
    ...site(CLIENTS),
    ...site(OTHERS),
  ]);
  for (const namespace of [CLIENTS, OTHERS])
    await cluster.kubectl(["wait", "--for=condition=Ready", "pod", "--all", "-n", namespace, "--timeout=60s"], {
      timeoutMs: 70_000,
    });
}, 300_000);

afterAll(async () => {
  await cluster.kubectl(["delete", "ceg", "resolvers", "--ignore-not-found"]);
  await cluster.kubectl(["delete", "namespace", CLIENTS, OTHERS, "--ignore-not-found", "--wait=false"]);
}, 60_000);

test("the client has the search list of a pod, and five dots to have it tried first", async () => {
  const { stdout } = await cluster.exec(CLIENTS, "client", ["/busybox", "cat", "/etc/resolv.conf"]);
  expect(stdout).toContain("ndots:5");
  // A cluster whose API server was away a moment ago knows new pods and Services a while later.
  for (const namespace of [CLIENTS, OTHERS]) {
    const found = () => reached("glibc", `web.${namespace}.svc.cluster.local`, 80, "4");
    await expect.poll(found, { timeout: 60_000, interval: 500 }).toMatch(/^404 /);
  }
  expect(stdout).toMatch(/^search resolvers\.svc\.cluster\.local svc\.cluster\.local cluster\.local corp\.example$/m);
});

describe.each(["musl", "glibc"] as const)("a client of %s", (library) => {
  describe.each(["4", "6"] as const)("over IPv%s", (family) => {
    const ip = family === "4" ? "ipv4" : "ipv6";

    test.each(["web", `web.${OTHERS}`, `web.${OTHERS}.svc`, `web.${OTHERS}.svc.cluster.local`])(
      "finds `%s` inside",
      async (name) => {
        // 404: the page, not the server, is missing.
        expect(await reached(library, name, 80, family)).toMatch(family === "4" ? /^404 10\.96\./ : /^404 fd00:96:/);
      },
    );

    test("finds a name outside that it may reach, after every domain of its list", async () => {
      await lab.forgetOutside();
      expect(await reached(library, "api.github.com", 80, family)).toBe(`200 ${OUTSIDE.githubApi[ip]}`);
      expect((await lab.outsideLog()).map(({ host }) => host)).toEqual(["api.github.com"]);
    });

    test("also where it says that the name is whole", async () => {
      expect(await reached(library, "api.github.com.", 80, family)).toMatch(/^(200|40\d) /);
    });

    test("finds no other name", async () => {
      await lab.forgetOutside();
      expect(await reached(library, "api.weather.gov", 80, family)).toBe("no address");
      const addresses: readonly string[] = Object.values(OUTSIDE.weatherApi);
      expect((await lab.outsideSaw()).filter(({ address }) => addresses.includes(address))).toEqual([]);
    });
  });
});
