import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE, POOL } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { AgentLab, sleep } from "../support/agent-lab.ts";

const APP = "app-ns/app";
const WATCHED = "watched-ns/watched";
const FREE = "free-ns/free";
const GUARDED = "guarded-ns/guarded";
const EVIL = OUTSIDE.evil;

const subject = (namespace: string): string =>
  `subject: { namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: ${namespace} } } }`;

const POLICIES = {
  "app.yaml": `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: app }
spec:
  tier: Admin
  priority: 1
  defaultDeny: true
  ${subject("app-ns")}
  rules:
    - name: api
      action: Allow
      to: [{ domains: [api.github.com, partner.example], ports: [{ protocol: TCP, port: 443 }, { protocol: TCP, port: 22 }] }]
    - name: partner
      action: Allow
      to: [{ cidrs: [${OUTSIDE.partner.ipv4}/32], ports: [{ protocol: TCP, port: 8443 }] }]
    - name: later
      action: Allow
      to: [{ domains: [gist.github.com], ports: [{ protocol: TCP, port: 8443 }] }]
`,
  "watched.yaml": `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: watched }
spec:
  tier: Admin
  priority: 2
  mode: Audit
  defaultDeny: true
  ${subject("watched-ns")}
  rules:
    - name: only-github
      action: Allow
      to: [{ domains: ["*.github.com"], ports: [{ protocol: TCP, port: 443 }] }]
`,
  "guarded.yaml": `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: guarded }
spec:
  tier: Admin
  priority: 3
  defaultDeny: false
  ${subject("guarded-ns")}
  rules:
    - name: not-evil
      action: Deny
      to: [{ domains: [evil.example, "*.evil.example"] }]
`,
};

let world: AgentLab;
let lab: Lab;

beforeAll(async () => {
  world = await AgentLab.up(`agn${process.pid % 10_000}x`, {
    policies: POLICIES,
    pods: [APP, WATCHED, FREE, GUARDED].map((pod) => {
      const [namespace = "", name = ""] = pod.split("/");
      return { namespace, name };
    }),
  });
  lab = world.lab;
  await world.start();
});

afterAll(() => world?.down());

const at = (name: string, address: string, port = 443): string[] => [
  "--connect-to",
  `${name}:${port}:${address}:${port}`,
];

describe("names that the pod resolved before the agent was there", () => {
  test("an allowed name at its address is found out by the agent; at another address it is refused", async () => {
    await lab.forgetOutside();
    expect(await world.get(APP, "https://api.github.com/", ...at("api.github.com", OUTSIDE.githubApi.ipv4))).toBe(
      "200",
    );
    expect(await world.get(APP, "https://api.github.com/", "-k", ...at("api.github.com", EVIL.ipv4))).toMatch(
      /^curl (7|35|56)/,
    );
    expect(await world.leaked(EVIL.ipv4)).toEqual({ packets: 0, payload: 0 });
    const refused = await world.until("denial", () =>
      world.records().find(({ destination }) => destination?.address === EVIL.ipv4),
    );
    expect(refused.action).toBe("Deny");
  });

  test("SSH by a name, on its binding alone", async () => {
    const ssh = await lab.exec(APP, ["sh", "-c", `sleep 0.5 | timeout 4 nc -w 2 ${OUTSIDE.partner.ipv4} 22`]);
    expect(ssh.stdout).toMatch(/^SSH-2\.0/);
    const other = await lab.exec(APP, ["sh", "-c", `sleep 0.5 | timeout 4 nc -w 2 ${EVIL.ipv4} 22`]);
    expect(other.stdout).toBe("");
  });

  test("with the resolver down it is denied in bounded time, and nobody else waits", async () => {
    await world.agent?.stop();
    await world.start({ agentResolvers: ["198.51.100.250", "2001:db8:100::250"] });
    const begun = performance.now();
    // A name that nobody has looked up: what an earlier agent had learned would still hold.
    const denied = world
      .get(APP, "https://gist.github.com:8443/", ...at("gist.github.com", OUTSIDE.githubGist.ipv4, 8443))
      .then((outcome) => ({ outcome, took: performance.now() - begun }));
    // As curl measures it: how long its process takes to start is not the question.
    const timed = ["-k", "-w", "%{http_code} %{time_total}"];
    const others: number[] = [];
    for (let i = 0; i < 5; i++) {
      const answers = [
        await world.get(APP, `https://${OUTSIDE.partner.ipv4}:8443/`, ...timed),
        await world.get(FREE, `http://${EVIL.ipv4}/`, ...timed),
      ].map((answer) => answer.split(" "));
      expect(answers.map(([code]) => code)).toEqual(["200", "200"]);
      others.push(...answers.map(([, seconds]) => Number(seconds)));
    }
    const { outcome, took } = await denied;
    expect(outcome).toMatch(/^curl (7|35|56)/);
    expect(took).toBeLessThan(3_000);
    expect(Math.max(...others)).toBeLessThan(1);
    expect(world.agent?.child.exitCode).toBeNull();
    await world.agent?.stop();
    await world.start();
  });
});

describe("Audit and guardrails", () => {
  test("Audit: everything passes, and the record says what would have been", async () => {
    expect(await world.get(WATCHED, "https://api.github.com/")).toBe("200");
    expect(await world.get(WATCHED, `http://${EVIL.ipv4}/`)).toBe("200");
    expect(await dig(WATCHED, "evil.example")).toBe("NOERROR");
    expect(await dig(WATCHED, "evil.example", `@${OUTSIDE.openResolver.ipv4}`)).toBe("NOERROR");
    const would = await world.until("record", () =>
      world
        .records()
        .find(
          ({ workload, destination, event }) =>
            workload?.name === "watched" && destination?.address === EVIL.ipv4 && event === "decision",
        ),
    );
    expect(would).toMatchObject({ action: "Allow", audit: { action: "Deny", reason: "DefaultDeny" } });
    const fine = world
      .records()
      .find(
        ({ workload, destination, event }) =>
          workload?.name === "watched" && destination?.name === "api.github.com" && event === "decision",
      );
    expect([fine?.action, fine?.audit?.action ?? "Allow"]).toEqual(["Allow", "Allow"]);
  });

  test("a guardrail refuses what it names, by binding and by evidence, and nothing else", async () => {
    expect(await dig(GUARDED, "evil.example")).toBe("NOERROR");
    expect(await world.get(GUARDED, "https://evil.example/", "-k")).toMatch(/^curl/);
    expect(
      await world.get(GUARDED, "https://shop.evil.example/", "-k", ...at("shop.evil.example", OUTSIDE.cdn.ipv4)),
    ).toMatch(/^curl/);
    expect(await world.get(GUARDED, "http://evil.example/")).toMatch(/^(403|curl)/);
    expect(await world.get(GUARDED, "https://api.github.com/")).toBe("200");
    expect(await world.get(GUARDED, "https://cdn.github.com/", ...at("cdn.github.com", OUTSIDE.cdn.ipv4))).toBe("200");
    expect(await world.get(GUARDED, `http://${POOL[0]?.ipv4}/`)).toBe("200");
    expect(await dig(GUARDED, "api.weather.gov", `@${OUTSIDE.openResolver.ipv4}`)).toBe("NOERROR");
  });

  test("who is not enforced goes on without the agent: dead, and stopped", async () => {
    await world.agent?.stop();
    for (const pod of [WATCHED, FREE]) {
      expect(await world.get(pod, `http://${EVIL.ipv4}/`)).toBe("200");
      expect(await dig(pod, "evil.example")).toBe("NOERROR");
    }
    expect(await world.get(APP, `https://${OUTSIDE.partner.ipv4}:8443/`, "-k", "-m", "1")).toBe("curl 28");
    const agent = await world.start();
    await agent.kill();
    expect(await world.get(WATCHED, `http://${EVIL.ipv4}/`)).toBe("200");
    const hung = await world.start();
    hung.forgetLog();
    await lab.exec("node1", ["sh", "-c", `kill -STOP $(cat /proc/${hung.child.pid}/task/${hung.child.pid}/children)`]);
    const begun = performance.now();
    expect(await world.get(FREE, `http://${EVIL.ipv4}/`)).toBe("200");
    expect(await world.get(WATCHED, `http://${EVIL.ipv4}/`)).toBe("200");
    expect(performance.now() - begun).toBeLessThan(3_000);
    await hung.event("ready", 15_000);
    await sleep(100);
    expect(await world.get(APP, `https://${OUTSIDE.partner.ipv4}:8443/`, "-k")).toBe("200");
    expect(await world.get(APP, `http://${EVIL.ipv4}/`)).not.toBe("200");
  });
});

async function dig(pod: string, name: string, ...more: string[]): Promise<string> {
  const { stdout } = await lab.exec(pod, ["dig", "+tries=1", "+time=2", ...more, name, "A"]);
  return / status: (\w+)/.exec(stdout)?.[1] ?? "none";
}
