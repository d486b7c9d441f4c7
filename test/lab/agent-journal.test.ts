import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { FlowRecord } from "../../src/flow/record.ts";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { inNetworkOnly, run } from "../../src/lab/process.ts";
import { AgentLab, sleep } from "../support/agent-lab.ts";

const APP = "app-ns/app";
const SHORT = "app-ns/short";
const WILD = "app-ns/wild";
const API = OUTSIDE.githubApi.ipv4;
const RAW = OUTSIDE.githubRaw.ipv4;
const EVIL = OUTSIDE.evil;

const policy = (name: string, domain: string) => `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: ${name} }
spec:
  tier: Admin
  priority: 1
  defaultDeny: true
  subject: { namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: app-ns } } }
  rules:
    - name: site
      action: Allow
      to: [{ domains: ["${domain}"], ports: [{ protocol: TCP, port: 443 }] }]
`;
const GITHUB = policy("github", "*.github.com");
/** Allows what nobody in this test asks for. */
const WEATHER = policy("weather", "api.weather.gov");
const GITHUB_NO_MORE = policy("github", "dns.google");
/** A client that waits over a restart on a busy machine (its SYN is sent again after 1, 3 and 7 s), and asks again. */
const PATIENTLY = ["-m", "9", "--retry", "2", "--retry-delay", "1", "--retry-all-errors"];
/** A resolver that never answers: what is not remembered cannot be found out. */
const NO_RESOLVER = { agentResolvers: ["198.51.100.250"] };

let world: AgentLab;
let lab: Lab;

beforeAll(async () => {
  world = await AgentLab.up(`agj${process.pid % 10_000}x`, {
    policies: { "github.yaml": GITHUB, "weather.yaml": WEATHER },
    pods: ["app", "short", "wild"].map((name) => ({ namespace: "app-ns", name })),
  });
  lab = world.lab;
});

afterEach(async () => {
  world.write("github.yaml", GITHUB);
  world.write("weather.yaml", WEATHER);
  await world.agent?.stop();
});

afterAll(() => world?.down());

/** A download that has begun: its flow is decided. */
async function download(pod: string) {
  const decided = () => idsOf(API).decided;
  const before = decided().length;
  const argv = ["curl", "-sSkN", "-m", "100", "-o", "/dev/null", "https://api.github.com/slow"];
  const child = lab.spawn(pod, argv, { stdio: "ignore" });
  const id = await world.until("decision on the download", () => decided().slice(before).at(-1), 8_000);
  return {
    id,
    runs: () => child.exitCode === null && child.signalCode === null,
    stop: () => child.kill("SIGKILL"),
  };
}

/** A connection to an address that the pod knows by itself, as a client with a cache does: nothing is resolved. */
function cached(pod: string, name: string, address: string): Promise<string> {
  return world.get(pod, `https://${name}/`, "-k", "--resolve", `${name}:443:${address}`, "-m", "4");
}

/** Kills the agent a moment after what it did last, as a crash may come, and starts another. */
async function crash(
  between: () => unknown = () => undefined,
  config = {},
): Promise<Readonly<Record<string, unknown>>> {
  await sleep(250);
  await world.agent?.kill();
  await between();
  const agent = await world.start(config);
  return agent.log.find((line) => line["event"] === "ready") ?? {};
}

/** The flow id of the download's decision, and of its end, if it has one. */
function idsOf(address: string): { decided: string[]; ended: string[] } {
  const of = world.records().filter(({ destination }) => destination?.address === address);
  const ids = (event: string) => of.flatMap((record) => (record.event === event ? [record.flowId ?? ""] : []));
  return { decided: ids("decision"), ended: ids("end") };
}

describe("after kill -9", () => {
  test("a download goes on, is still tied to its rule, and keeps its id", async () => {
    await world.start();
    const slow = await download(APP);
    expect(await crash()).toMatchObject({ remembered: expect.any(Number), ended: 0 });
    await world.applied(() => world.write("weather.yaml", null));
    await sleep(500);
    expect(slow.runs()).toBe(true);
    // It remembers also what it was told by an agent before the last.
    expect(await crash()).toMatchObject({ remembered: expect.any(Number), ended: 0 });
    await world.applied(() => world.write("github.yaml", GITHUB_NO_MORE));
    await world.until("end of the download", () => !slow.runs(), 1_000);
    await world.until("end record", () => idsOf(API).ended.includes(slow.id));
    const end = world.records().findLast(({ event }) => event === "end");
    expect(end).toMatchObject({ flowId: slow.id, closedBy: "policy", destination: { name: "api.github.com" } });
    expect(end?.durationMs).toBeGreaterThan(1_000);
  });

  test("an address that was resolved before needs no resolver; one that was not is not reached", async () => {
    await world.start();
    expect(await world.get(APP, "https://gist.github.com/", "-k")).toBe("200");
    await crash(undefined, NO_RESOLVER);
    expect(await cached(APP, "gist.github.com", OUTSIDE.githubGist.ipv4)).toBe("200");
    expect(await cached(APP, "raw.github.com", RAW)).not.toBe("200");
    // One pod's look-ups open no door for another.
    expect(await cached(WILD, "gist.github.com", OUTSIDE.githubGist.ipv4)).not.toBe("200");
  });

  test("a packet lane that replaces another knows what that had learned", async () => {
    await world.start(NO_RESOLVER);
    expect(await world.get(APP, "https://pages.github.com/", "-k")).toBe("200");
    await sleep(100);
    world.agent?.forgetLog();
    await lab.configYaml(1, { ...NO_RESOLVER, dnsDenial: "Refused" });
    await world.agent?.event("lane-replaced");
    await world.agent?.event("applied");
    expect(await cached(APP, "pages.github.com", OUTSIDE.githubPages.ipv4)).toBe("200");
    expect(await cached(APP, "raw.github.com", RAW)).not.toBe("200");
  });

  test("what is no longer allowed ends at the start", async () => {
    await world.start();
    const slow = await download(APP);
    expect(await crash(() => world.write("github.yaml", GITHUB_NO_MORE))).toMatchObject({ ended: expect.any(Number) });
    await world.until("end of the download", () => !slow.runs(), 1_000);
    const isCut = (record: FlowRecord) => record.flowId === slow.id && record.reason === "NoLongerAllowed";
    await world.until("record of the denial", () => world.records().some(isCut));
    await world.until("end record", () => idsOf(API).ended.includes(slow.id));
  });

  test("a pod that came to the address meanwhile inherits neither flows nor bindings", async () => {
    await world.start();
    const slow = await download(SHORT);
    const { host } = lab.pod(SHORT);
    const replace = async () => {
      await lab.removePod(SHORT);
      await lab.addPod({ namespace: "app-ns", name: "short" }, { host });
    };
    expect(await crash(replace, NO_RESOLVER)).toMatchObject({ ended: 1 });
    slow.stop();
    expect(await cached(SHORT, "api.github.com", API)).not.toBe("200");
    await world.until("end record", () => idsOf(API).ended.includes(slow.id));
  });

  test("a flow that ended meanwhile is counted, and has no end record", async () => {
    await world.start();
    const slow = await download(APP);
    const quick = ["time_wait", "close", "last_ack", "fin_wait"].map(
      (of) => `net.netfilter.nf_conntrack_tcp_timeout_${of}=1`,
    );
    await lab.exec("node1", ["sysctl", "-qw", ...quick]);
    const gone = async () => {
      slow.stop();
      await sleep(2_500);
    };
    const before = idsOf(API).ended.length;
    expect(Number((await crash(gone))["gone"])).toBeGreaterThan(0);
    await sleep(200);
    expect(idsOf(API).ended).toHaveLength(before);
  });
});

describe("again and again", () => {
  test("ten kills in twenty seconds: what is allowed lives, what is new gets through, what is denied does not", async () => {
    await world.start();
    const slow = await download(APP);
    await lab.forgetOutside();
    const flood = world.script(WILD, "flood.ts", "100", EVIL.ipv4, EVIL.ipv6);
    const over = once(flood, "exit");
    let [asked, got] = [0, 0];
    let busy = true;
    const client = (async () => {
      while (busy) {
        asked++;
        if ((await world.get(APP, "https://gist.github.com/", "-k", ...PATIENTLY)) === "200") got++;
        await sleep(100);
      }
    })();
    for (let kill = 0; kill < 10; kill++) {
      const next = sleep(2_000);
      await crash();
      expect(await world.get(APP, "https://raw.github.com/", "-k", "-m", "10")).toBe("200");
      await next;
    }
    busy = false;
    await client;
    expect(slow.runs()).toBe(true);
    expect({ asked, got }).toEqual({ asked, got: asked });
    expect(got).toBeGreaterThan(3);
    flood.kill("SIGKILL");
    await over;
    expect(await world.leaked(EVIL.ipv4, EVIL.ipv6)).toEqual({ packets: 0, payload: 0 });
    await world.applied(() => world.write("github.yaml", GITHUB_NO_MORE));
    await world.until("end of the download", () => !slow.runs(), 1_000);
  });
});

/** Of every flow that the node knows. */
async function marks(): Promise<string[]> {
  const { stdout } = await run(inNetworkOnly(lab.node(1).netns, ["cat", "/proc/net/nf_conntrack"]));
  return [...stdout.matchAll(/ mark=(\d+)/g)].map(([, mark = ""]) => mark);
}

describe("the state folder", () => {
  test("agent --remove takes it away", async () => {
    await world.start();
    const folder = join(lab.directory, "state-node1");
    // A flow is open while it is taken away: what the kernel remembers of it goes too.
    const denied = await world.get(APP, `https://${EVIL.ipv4}/`);
    await world.agent?.stop();
    expect(denied).not.toBe("200");
    expect(await marks()).toContain("4");
    expect(existsSync(join(folder, "journal"))).toBe(true);
    const cli = join(import.meta.dirname, "../../src/cli/main.ts");
    const argv = inNetworkOnly(lab.node(1).netns, [process.execPath, cli, "agent", "--remove", "--state", folder]);
    expect(await run(argv)).toMatchObject({ status: 0 });
    expect(existsSync(folder)).toBe(false);
    expect(new Set(await marks())).toEqual(new Set(["0"]));
  });
});
