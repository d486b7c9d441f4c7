import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { AgentLab, sleep } from "../support/agent-lab.ts";

const APP = "app-ns/app";
const OTHER = "app-ns/other";

const policy = (port: number, domain = "*.github.com"): string => `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: app }
spec:
  tier: Admin
  priority: 1
  defaultDeny: true
  subject: {}
  rules:
    - name: by-name
      action: Allow
      to: [{ domains: ["${domain}"], ports: [{ protocol: TCP, port: 443 }] }]
    - name: by-address
      action: Allow
      to: [{ cidrs: [203.0.113.10/32], ports: [{ protocol: TCP, port: ${port} }] }]
`;

let world: AgentLab;
let lab: Lab;

beforeAll(async () => {
  world = await AgentLab.up(`ags${process.pid % 10_000}x`, {
    policies: { "app.yaml": policy(8443) },
    pods: ["app", "other"].map((name) => ({ namespace: "app-ns", name })),
  });
  lab = world.lab;
  await world.start();
});

afterAll(() => world?.down());

const partner = () => world.get(APP, `https://${OUTSIDE.partner.ipv4}:8443/`, "-k", "-m", "2");

describe("inputs that change", () => {
  test("a workloads file half written, emptied, deleted, replaced: what ran goes on", async () => {
    const agent = world.agent;
    const whole = readFileSync(lab.workloadsPath, "utf8");
    for (const broken of [whole.slice(0, whole.length >> 1), "", "{", null]) {
      agent?.forgetLog();
      if (broken === null) rmSync(lab.workloadsPath);
      else writeFileSync(lab.workloadsPath, broken);
      await agent?.event("workloads-refused", 4_000);
      expect(await partner()).toBe("200");
    }
    const beside = `${lab.workloadsPath}.new`;
    writeFileSync(beside, whole.replaceAll("app: other", "app: changed"));
    await world.applied(() => lab.setLabels(OTHER, { fresh: "yes" }));
    writeFileSync(beside, readFileSync(lab.workloadsPath, "utf8").replace("fresh: yes", "fresh: no"));
    renameSync(beside, lab.workloadsPath);
    expect(await partner()).toBe("200");
  });

  test("documents with errors are refused, said once, and mended by the next good ones", async () => {
    const agent = world.agent;
    agent?.forgetLog();
    world.write("app.yaml", policy(8443).replace("action: Allow", "acton: Allow"));
    const line = await agent?.event("documents-refused");
    expect(String(line?.["problems"])).toMatch(/app\.yaml:\d+:\d+: /);
    await sleep(2_500);
    expect(agent?.log.filter((one) => one["event"] === "documents-refused")).toHaveLength(1);
    expect(await partner()).toBe("200");
    // The folder away, and back.
    agent?.forgetLog();
    renameSync(world.policies, `${world.policies}.away`);
    await agent?.event("documents-refused", 4_000);
    expect(await partner()).toBe("200");
    renameSync(`${world.policies}.away`, world.policies);
    await world.applied(() => world.write("app.yaml", policy(8444)));
    expect(await partner()).toBe("curl 7");
    await world.applied(() => world.write("app.yaml", policy(8443)));
    expect(await partner()).toBe("200");
  });

  test("SIGHUP reads again at once; resolvers may change", async () => {
    const agent = world.agent;
    agent?.forgetLog();
    agent?.signal("SIGHUP");
    expect(await agent?.event("reload")).toMatchObject({ changed: false });
    expect(await partner()).toBe("200");
    await world.applied(() => lab.configYaml(1, { resolvers: [OUTSIDE.openResolver.ipv4] }));
    expect(await dig(APP, "api.github.com", "10.96.0.10")).not.toBe("NOERROR");
    await world.applied(() => lab.configYaml(1, { dnsDenial: "Refused" }));
    expect(await dig(APP, "api.github.com", "10.96.0.10")).toBe("NOERROR");
    expect(await dig(APP, "evil.example", "10.96.0.10")).toBe("REFUSED");
    await world.applied(() => lab.configYaml(1));
    expect(await dig(APP, "evil.example", "10.96.0.10")).toBe("NXDOMAIN");
  });

  test("200 changes in two seconds: the last one is enforced, and nothing piles up", async () => {
    const agent = world.agent;
    const before = memoryOf();
    agent?.forgetLog();
    for (let i = 0; i < 200; i++) {
      world.write("app.yaml", policy(i % 2 === 0 ? 8443 : 9000 + i));
      if (i % 10 === 0) await lab.setLabels(OTHER, { round: String(i) });
      await sleep(8);
    }
    await world.applied(() => world.write("app.yaml", policy(8444)));
    await sleep(600);
    expect(await partner()).toBe("curl 7");
    await world.applied(() => world.write("app.yaml", policy(8443)));
    await sleep(300);
    expect(await partner()).toBe("200");
    const applied = agent?.log.filter((line) => line["event"] === "applied") ?? [];
    expect(applied.length).toBeLessThan(200);
    expect(agent?.log.filter((line) => line["level"] === "error")).toEqual([]);
    expect(memoryOf() - before).toBeLessThan(120);
    expect(agent?.child.exitCode).toBeNull();
  });

  test("logs that are written beside the workloads do not make the agent read them", async () => {
    const cpu = cpuOf();
    for (let i = 0; i < 100; i++) {
      writeFileSync(join(lab.directory, "noise.log"), "x".repeat(i));
      await sleep(10);
    }
    // A hundredth of a second each; reading and parsing at each write took most of the second.
    expect(cpuOf() - cpu).toBeLessThan(40);
  });
});

async function dig(pod: string, name: string, server: string): Promise<string> {
  const { stdout } = await lab.exec(pod, ["dig", "+tries=1", "+time=2", `@${server}`, name, "A"]);
  return / status: (\w+)/.exec(stdout)?.[1] ?? "none";
}

/** The agent: the child of its supervisor. */
function pid(): string {
  const supervisor = world.agent?.child.pid;
  return readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, "latin1").trim();
}

/** Resident memory in MiB. */
function memoryOf(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid()}/status`, "latin1"))?.[1] ?? 0) / 1024;
}

/** Processor time of all threads, in hundredths of a second. */
function cpuOf(): number {
  const fields = readFileSync(`/proc/${pid()}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
  return Number(fields[11]) + Number(fields[12]);
}
