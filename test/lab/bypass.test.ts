import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { inNetworkOnly, run } from "../../src/lab/process.ts";
import { AgentLab, appPolicy, sleep } from "../support/agent-lab.ts";

const APP = "app-ns/app";
const OTHER = "other-ns/app";
const PARTNER = OUTSIDE.partner;
const EVIL = OUTSIDE.evil;
const cli = join(import.meta.dirname, "../../src/cli/main.ts");

const nothing = (namespace: string) =>
  appPolicy(`    - name: partner
      action: Allow
      to: [{ cidrs: [${PARTNER.ipv4}/32], ports: [{ protocol: TCP, port: 8443 }] }]
`)
    .replaceAll("app-ns", namespace)
    .replace(/metadata: \{ name: [\w-]+ \}/, `metadata: { name: ${namespace} }`);

let world: AgentLab;
let lab: Lab;

beforeAll(async () => {
  world = await AgentLab.up(`agb${process.pid % 10_000}x`, {
    policies: { "app.yaml": nothing("app-ns"), "other.yaml": nothing("other-ns") },
    pods: [
      { namespace: "app-ns", name: "app" },
      { namespace: "other-ns", name: "app" },
    ],
  });
  lab = world.lab;
  await world.start();
});

afterEach(() => bypass("--end"));

afterAll(() => world?.down());

/** What `sallyport bypass` says, run on the node. */
async function bypass(...words: string[]): Promise<string> {
  const folder = ["--state", join(lab.directory, "state-node1")];
  const argv = inNetworkOnly(lab.node(1).netns, [process.execPath, cli, "bypass", ...words, ...folder]);
  const { status, stdout, stderr } = await run(argv);
  if (status !== 0) throw new Error(stderr + stdout);
  return stdout;
}

const evil = (pod: string, ...more: string[]) => world.get(pod, `https://${EVIL.ipv4}/`, "-k", "-m", "3", ...more);
const WHY = ["--reason", "a test of it"];

/** Of the last decision on the address that nothing allows. */
function lastRecord(namespace: string) {
  return world
    .records()
    .filter(({ event, workload }) => event === "decision" && workload?.namespace === namespace)
    .findLast(({ destination }) => destination?.address === EVIL.ipv4);
}

test("of a namespace: nothing is denied to its pods, all of it is recorded; its end denies what is open", async () => {
  const agent = world.agent!;
  expect([await evil(APP), await evil(OTHER)]).not.toContain("200");
  const said = await bypass("--namespace", "app-ns", "--for", "5m", ...WHY);
  expect(said).toContain("in force: the agent decides so");
  expect(await evil(APP)).toBe("200");
  expect(await evil(OTHER)).not.toBe("200");
  await world.until("record", () => lastRecord("app-ns")?.reason === "Bypassed");
  expect(lastRecord("app-ns")).toMatchObject({ action: "Allow", audit: { action: "Deny", reason: "DefaultDeny" } });
  expect(agent.log.find((line) => line["event"] === "bypass-begun")).toMatchObject({
    ...{ level: "warn", scope: "Namespace", namespace: "app-ns", reason: "a test of it", by: expect.any(String) },
  });
  const slow = lab.spawn(APP, ["curl", "-sSkN", "-m", "60", "-o", "/dev/null", `https://${EVIL.ipv4}/slow`]);
  const decisions = () => world.records().filter(({ reason }) => reason === "Bypassed").length;
  await world.until("decision on the download", () => decisions() > 1);
  expect(slow.exitCode).toBeNull();
  const [id = ""] = said.split(" ");
  expect(await bypass("--end", id)).toContain("in force");
  await world.until("end of the download", () => slow.exitCode !== null, 3_000);
  expect(await evil(APP)).not.toBe("200");
  expect(agent.log.find((line) => line["event"] === "bypass-ended")).toMatchObject({ id, how: "ended" });
});

test("ends by itself", async () => {
  const agent = world.agent!;
  agent.forgetLog();
  await bypass("--node", "--for", "15s", ...WHY);
  expect([await evil(APP), await evil(OTHER)]).toEqual(["200", "200"]);
  await world.until("end", () => agent.log.some((line) => line["event"] === "bypass-ended"), 20_000);
  await world.until("decision", async () => (await evil(APP)) !== "200", 3_000);
});

test("of everything: the hooks stand aside, and nothing is inspected or recorded", async () => {
  expect(await evil(APP)).not.toBe("200");
  await bypass("--all", "--for", "5m", ...WHY);
  const began = new Date().toISOString();
  expect(await evil(APP)).toBe("200");
  const { stdout } = await run(
    inNetworkOnly(lab.node(1).netns, ["nft", "list", "counter", "inet", "sallyport", "stood_aside"]),
  );
  expect(Number(/packets (\d+)/.exec(stdout)?.[1])).toBeGreaterThan(3);
  await sleep(300);
  expect(world.records().filter(({ time }) => time > began)).toEqual([]);
  await bypass("--end");
  expect(await evil(APP)).not.toBe("200");
});

test("without an agent the kernel lets pass, for as long as was said, and no longer", async () => {
  await world.agent?.stop();
  expect(await evil(APP)).not.toBe("200");
  expect(await bypass("--node", "--for", "20s", ...WHY)).toContain("told the kernel");
  const said = performance.now();
  expect([await evil(APP), await evil(OTHER)]).toEqual(["200", "200"]);
  await sleep(20_200 - (performance.now() - said));
  await lab.forgetOutside();
  expect(await evil(APP)).not.toBe("200");
  expect(await world.leaked(EVIL.ipv4)).toEqual({ packets: 0, payload: 0 });
});

test("an agent that starts meanwhile goes on with it, one of a namespace among them", async () => {
  await world.start();
  await bypass("--namespace", "app-ns", "--for", "5m", ...WHY);
  await world.agent?.kill();
  // Its pods stay in the kernel's set: they need nobody.
  expect([await evil(APP), await evil(OTHER, "-m", "2")]).toEqual(["200", expect.not.stringMatching("200")]);
  await world.start();
  expect([await evil(APP), await evil(OTHER)]).toEqual(["200", expect.not.stringMatching("200")]);
  expect(await bypass("--list")).toMatch(/Namespace +app-ns .* agent/);
});

test("what cannot be done says why", async () => {
  await expect(bypass("--node", ...WHY)).rejects.toThrow(/--for/);
  await expect(bypass("--node", "--for", "25h", ...WHY)).rejects.toThrow(/24h/);
  await expect(bypass("--node", "--for", "5m")).rejects.toThrow(/--reason/);
  await expect(bypass("--node", "--all", "--for", "5m", ...WHY)).rejects.toThrow(/exclude/);
  await expect(bypass("--end", "deadbeef")).rejects.toThrow(/--list/);
});
