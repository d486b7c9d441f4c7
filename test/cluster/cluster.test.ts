import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { openLab } from "../../src/lab/lab.ts";
import type { Cluster } from "./cluster.ts";
import { removeCluster } from "./cluster-down.ts";
import { createCluster } from "./cluster-up.ts";
import { pause } from "./components.ts";
import { type HostTraces, hostTraces } from "./host-traces.ts";
import { NODE } from "./network.ts";
import { podObject } from "./pods.ts";

const NAME = `t${process.pid % 100_000}`;
let before: HostTraces;
let cluster: Cluster;

beforeAll(async () => {
  before = await hostTraces(NAME);
  cluster = await createCluster(NAME);
  const web = { selector: { app: "web" }, ipFamilyPolicy: "RequireDualStack", ports: [{ port: 80, targetPort: 8080 }] };
  await cluster.apply([
    podObject("client"),
    podObject("web", { labels: { app: "web" }, command: ["httpd", "-f", "-p", "8080", "-h", "/etc"] }),
    { apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace: "default" }, spec: web },
    podObject("bridged", { network: "bridge" }),
    podObject("passing", { network: "macvlan" }),
    podObject("host", {
      network: "host",
      securityContext: {
        seccompProfile: { type: "RuntimeDefault" },
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] },
      },
    }),
  ]);
  await cluster.kubectl(["wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s"], { timeoutMs: 70_000 });
}, 300_000);

afterAll(async () => {
  await removeCluster(NAME);
}, 60_000);

async function fetched(pod: string, url: string, ...flags: readonly string[]): Promise<string> {
  const curl = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", ...flags, url];
  return (await cluster.exec("default", pod, curl)).stdout;
}

describe("a cluster of one node", () => {
  it("is of the release it says", async () => {
    const nodes = JSON.parse(await cluster.kubectl(["get", "node", NODE.name, "-o", "json"]));
    const version = JSON.parse(await cluster.kubectl(["version", "-o", "json"]));
    expect(nodes.status.nodeInfo.kubeletVersion).toBe(version.serverVersion.gitVersion);
    expect(version.serverVersion.gitVersion).toMatch(/^v1\.\d+\.\d+$/);
    expect(nodes.spec.podCIDRs).toEqual(Object.values(NODE.pods));
  });

  it.each(["client", "bridged", "host"])("answers `%s` at a Service's name, in both families", async (pod) => {
    expect(await fetched(pod, "http://web.default.svc.cluster.local/passwd", "-4")).toBe("200");
    expect(await fetched(pod, "http://web.default.svc.cluster.local/passwd", "-6")).toBe("200");
  });

  it.each(["client", "bridged", "host"])("lets `%s` reach outside by name, behind the node's address", async (pod) => {
    const lab = await openLab(NAME);
    await lab.forgetOutside();
    expect(await fetched(pod, "https://api.weather.gov/", "-4")).toBe("200");
    expect(await fetched(pod, "https://api.weather.gov/", "-6")).toBe("200");
    const clients = (await lab.outsideLog()).map((request) => request.client);
    expect(new Set(clients)).toEqual(new Set(Object.values(NODE.address)));
  });

  it("lets a macvlan pod pass the node by", async () => {
    const lab = await openLab(NAME);
    await lab.forgetOutside();
    expect(await fetched("passing", `http://${OUTSIDE.github.ipv4}/`)).toBe("200");
    expect((await lab.outsideLog())[0]?.client).toMatch(/^192\.0\.2\.2\d\d$/);
  });

  it("confines a host-network pod as it was asked to", async () => {
    const status = (await cluster.exec("default", "host", ["cat", "/proc/self/status"])).stdout;
    expect(status).toMatch(/CapEff:\t0000000000001000/);
    expect(status).toMatch(/Seccomp:\t2/);
  });

  it("goes on without its API server, and takes it back", async () => {
    await cluster.stop("kube-apiserver");
    expect((await cluster.tryKubectl(["get", "nodes"])).status).not.toBe(0);
    await cluster.restart("kube-apiserver");
    await expect
      .poll(async () => (await cluster.tryKubectl(["get", "--raw", "/readyz"])).status, { timeout: 30_000 })
      .toBe(0);
    expect(await fetched("client", "http://web/passwd")).toBe("200");
  }, 60_000);
});

describe("taken down", () => {
  it("leaves nothing on its host", async () => {
    expect(await removeCluster(NAME)).toBe(true);
    expect(await hostTraces(NAME)).toEqual(before);
    expect(await removeCluster(NAME)).toBe(false);
  }, 60_000);

  it("leaves nothing when the process that made it was killed on the way", async () => {
    const command = fileURLToPath(new URL("./command.ts", import.meta.url));
    const maker = spawn(process.execPath, [command, "up", NAME], { stdio: "ignore", detached: true });
    await pause(4_000);
    process.kill(-(maker.pid ?? 0), "SIGKILL");
    await once(maker, "exit");
    expect(await removeCluster(NAME)).toBe(true);
    expect(await hostTraces(NAME)).toEqual(before);
  }, 60_000);
});
