import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { unifiedTree } from "../../src/agent/host-network/pod-groups.ts";
import { OUTSIDE, PORTS, SERVICES } from "../../src/lab/addresses.ts";
import { AgentProcess } from "../../src/lab/agent-process.ts";
import { type ExecResult, inNetns, inNetworkOnly, run } from "../../src/lab/process.ts";
import { AgentLab, appPolicy } from "../support/agent-lab.ts";

const NAME = `hnw${process.pid % 10_000}x`;
const TREE = unifiedTree("/sys/fs/cgroup") ?? "/sys/fs/cgroup/unified";
const ROOT = join(TREE, `sallyport-${NAME}`);
const HELD = "6d3fd1a0-0000-4000-8000-0000000000a1";
const OTHER = "6d3fd1a0-0000-4000-8000-0000000000a2";
const FREE = "6d3fd1a0-0000-4000-8000-0000000000a3";
const LATE = "6d3fd1a0-0000-4000-8000-0000000000a4";
/** Of both drivers: what the kubelet makes of a pod without requests, with some, and where systemd makes it. */
const GROUPS: Readonly<Record<string, string>> = {
  [HELD]: `kubepods/besteffort/pod${HELD}`,
  [OTHER]: `kubepods/pod${OTHER}`,
  [LATE]: `kubepods/pod${LATE}`,
  [FREE]: `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${FREE.replaceAll("-", "_")}.slice`,
};
const POLICY = appPolicy(`
    - name: github
      action: Allow
      to: [{ domains: ["*.github.com"], ports: [{ protocol: TCP, port: 443 }, { protocol: TCP, port: 80 }] }]
    - name: partner
      action: Allow
      to: [{ cidrs: [203.0.113.10/32, "2001:db8:113::10/128"] }]
`);
const PARTNER = `https://${OUTSIDE.partner.ipv4}:8443/`;
const EVIL = OUTSIDE.evil;
const ECHO = `TCP4:${OUTSIDE.partner.ipv4}:${PORTS.echo.server}`;
/** Plain HTTP is answered by the agent. */
const DENIED = "403";
const SOON = { timeout: 10_000, interval: 50 };

const SCRIPT = join(import.meta.dirname, "../../src/cli/main.ts");
const COMMAND = [process.execPath, SCRIPT];

let world: AgentLab;
const netns = () => world.lab.node(1).netns;

/** A process in the pod's group, in a group of its own below it as a container is, on the network of the node. */
function inPod(uid: string | null, argv: readonly string[]): Promise<ExecResult> {
  if (uid === null) return world.lab.exec("node1", argv);
  const group = join(ROOT, GROUPS[uid]!, "container");
  // Before it enters the namespace, in which control groups are not mounted.
  const enter = ["sh", "-ec", 'echo $$ >"$0/cgroup.procs"; exec "$@"', group, ...inNetns(netns(), argv)];
  return run(enter, { env: world.lab.environment });
}

async function get(uid: string | null, url: string, ...more: string[]): Promise<string> {
  const argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "6", ...more, url];
  const { status, stdout } = await inPod(uid, argv);
  return status === 0 ? stdout : `curl ${status}`;
}

function hostPod(name: string, uid: string, labels: Record<string, string> = {}): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "app-ns", name, uid, labels },
    spec: { hostNetwork: true, nodeName: "node1", containers: [{ name: "main" }] },
    status: { phase: "Running", podIP: "192.0.2.11", podIPs: [{ ip: "192.0.2.11" }, { ip: "2001:db8:2::11" }] },
  };
}

const workloads = () => join(world.lab.directory, "host-workloads.yaml");

async function list(...pods: readonly object[]): Promise<void> {
  const lab = parse(readFileSync(await world.lab.workloadsYaml(), "utf8"));
  writeFileSync(workloads(), stringify({ ...lab, items: [...lab.items, ...pods] }));
}

async function start(node: readonly string[] = [process.execPath], more: readonly string[] = []): Promise<void> {
  world.agent = await AgentProcess.start(world.lab, {
    node: 1,
    command: [...node, SCRIPT],
    policies: world.policies,
    workloads: workloads(),
    config: await world.lab.configYaml(1),
    flows: world.flows,
    more,
    // While another one of this node still writes its own.
    ...(more.length === 0 ? {} : { log: join(world.lab.directory, "agent-other.log") }),
  });
}

const held = hostPod("held", HELD, { team: "a" });
const other = hostPod("other", OTHER);
const free = { ...hostPod("free", FREE), metadata: { namespace: "inside-ns", name: "free", uid: FREE } };

beforeAll(async () => {
  world = await AgentLab.up(NAME, { policies: { "app.yaml": POLICY }, pods: [{ namespace: "app-ns", name: "app" }] });
  for (const [uid, group] of Object.entries(GROUPS))
    if (uid !== LATE) await mkdir(join(ROOT, group, "container"), { recursive: true });
  await list(held, other, free);
  await start();
  await world.until("held pods", () => world.agent?.log.some(({ event }) => event === "host-pods-held"));
}, 60_000);

afterAll(async () => {
  await world?.down();
  await remove(ROOT);
});

beforeEach(() => world.lab.forgetOutside());

async function remove(folder: string): Promise<void> {
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) await remove(join(folder, entry.name));
  for (let tries = 0; ; tries++) {
    const error = await rmdir(folder).catch((error: NodeJS.ErrnoException) => error);
    if (error === undefined) return;
    if (tries === 40) throw error;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe("a pod on the host's network that a policy isolates", () => {
  test("reaches an allowed name, by what it resolved and by what it shows", async () => {
    expect(await get(HELD, "https://api.github.com/")).toBe("200");
    expect(await get(HELD, "http://api.github.com/")).toBe("200");
    expect(await get(HELD, "https://api.github.com/", "-6")).toBe("200");
    expect(await get(OTHER, "https://api.github.com/")).toBe("200");
  });

  test("reaches an allowed address, of either family", async () => {
    expect(await get(HELD, PARTNER, "-k")).toBe("200");
    expect(await get(HELD, `https://[${OUTSIDE.partner.ipv6}]:8443/`, "-k")).toBe("200");
  });

  test("reaches nothing else, and is told so at once", async () => {
    expect(await get(HELD, `https://${EVIL.ipv4}:8443/`)).toBe("curl 7");
    expect(await get(HELD, `https://[${EVIL.ipv6}]:8443/`)).toBe("curl 7");
    // Where a name may still decide, the server is not asked before it does.
    expect(await get(HELD, `http://${EVIL.ipv4}/`)).toBe(DENIED);
    expect(await get(HELD, `http://[${EVIL.ipv6}]/`)).toBe(DENIED);
    expect(await get(HELD, "https://evil.example/")).toBe("curl 6");
    expect(await get(HELD, "https://evil.example/", "--resolve", `evil.example:443:${EVIL.ipv4}`)).toMatch(
      /^curl (7|35)$/,
    );
    // An allowed name in front of an address that it does not lead to, and a denied one in front of one that it does.
    expect(await get(HELD, "https://api.github.com/", "--resolve", `api.github.com:443:${EVIL.ipv4}`)).toMatch(
      /^curl (7|35)$/,
    );
    const inside = ["--connect-to", `evil.example:443:${OUTSIDE.githubApi.ipv4}:443`];
    expect(await get(HELD, "https://evil.example/", ...inside)).toMatch(/^curl (7|35)$/);
    await inPod(HELD, ["sh", "-c", `echo x | socat -u - UDP4-SENDTO:${EVIL.ipv4}:9999`]);
    const arrived = (await world.lab.outsideSaw()).filter(
      ({ address }) => address === EVIL.ipv4 || address === EVIL.ipv6,
    );
    expect(arrived.filter(({ port, withPayload }) => (port !== 80 && port !== 443) || withPayload > 0)).toEqual([]);
  });

  test("is gated at the resolver, and answered by whom it asked", async () => {
    const dig = (name: string) => inPod(HELD, ["dig", "+tries=1", "+time=3", `@${SERVICES.dns.ipv4}`, name, "A"]);
    expect((await dig("api.github.com")).stdout).toMatch(/status: NOERROR/);
    const denied = (await dig("evil.example")).stdout;
    expect(denied).toMatch(/status: NXDOMAIN/);
    expect(denied).toMatch(/EDE: 15/);
    expect(
      (await inPod(HELD, ["dig", "+tcp", "+tries=1", "+time=3", `@${SERVICES.dns.ipv4}`, "api.github.com"])).stdout,
    ).toMatch(/status: NOERROR/);
  });

  test("reaches what is inside", async () => {
    expect(await get(HELD, `http://${SERVICES.web.ipv4}/`)).toMatch(/^\d{3}$/);
  });

  test("reaches through a Service what it may, and is judged by where that leads", async () => {
    const banner = await inPod(HELD, ["sh", "-c", `sleep 2 | nc -w 3 ${SERVICES.partner.ipv4} 22`]);
    expect(banner.stdout).toMatch(/^SSH-2/);
    // By the answer of the agent, from the address that was asked.
    expect(await get(HELD, `http://${SERVICES.evil.ipv4}/`)).toBe(DENIED);
    expect(await get(HELD, `http://[${SERVICES.evil.ipv6}]/`)).toBe(DENIED);
    const arrived = (await world.lab.outsideSaw()).filter(
      ({ address }) => address === EVIL.ipv4 || address === EVIL.ipv6,
    );
    expect(arrived.filter(({ withPayload }) => withPayload > 0)).toEqual([]);
    expect(await get(null, `http://${SERVICES.evil.ipv4}/`)).toBe("200");
  });

  test("stands in the records by its name, with the node's address", async () => {
    await get(HELD, `http://${EVIL.ipv4}/`);
    const record = await world.until("record", () =>
      world.records().find((one) => one.workload?.name === "held" && one.destination?.address === EVIL.ipv4),
    );
    expect(record.source?.address).toBe("192.0.2.11");
  });

  test("and another of them learns nothing for it", async () => {
    expect(
      await get(OTHER, "https://raw.githubusercontent.com/", "--resolve", `raw.githubusercontent.com:443:${EVIL.ipv4}`),
    ).toMatch(/^curl/);
  });
});

describe("what no policy selects", () => {
  const untouched = async (uid: string | null) => {
    expect(await get(uid, `http://${EVIL.ipv4}/`)).toBe("200");
    expect(await get(uid, `http://[${EVIL.ipv6}]/`)).toBe("200");
    expect(
      (await inPod(uid, ["dig", "+tries=1", "+time=3", `@${SERVICES.dns.ipv4}`, "evil.example", "A"])).stdout,
    ).toMatch(/status: NOERROR/);
  };

  test("a process of the node is not asked about", () => untouched(null));
  test("nor is a pod of the host's network", () => untouched(FREE));
});

describe("changes", () => {
  test("a label that goes cuts what is open, and a policy that selects a pod begins to hold it", async () => {
    world.write(
      "b.yaml",
      POLICY.replaceAll("{ name: app }", "{ name: team }")
        .replace("subject: {", "subject: { podSelector: { matchLabels: { team: a } },")
        .replace("priority: 1", "priority: 0"),
    );
    world.write("app.yaml", null);
    await expect.poll(() => get(OTHER, `http://${EVIL.ipv4}/`), SOON).toBe("200");
    expect(await get(HELD, `http://${EVIL.ipv4}/`)).toBe(DENIED);
    world.write("app.yaml", POLICY);
    world.write("b.yaml", null);
    await expect.poll(() => get(OTHER, `http://${EVIL.ipv4}/`), SOON).toBe(DENIED);
  });

  test("what one may send by a port, another that has the port next may not, and takes nothing from the first", async () => {
    const without = POLICY.slice(0, POLICY.indexOf("    - name: partner"));
    world.write("app.yaml", without);
    world.write(
      "b.yaml",
      POLICY.replaceAll("{ name: app }", "{ name: team }")
        .replace("subject: {", "subject: { podSelector: { matchLabels: { team: a } },")
        .replace("priority: 1", "priority: 0"),
    );
    const send = (uid: string) =>
      inPod(uid, [
        "sh",
        "-c",
        `for i in 1 2 3; do echo x; sleep 0.1; done | socat -u - UDP4-SENDTO:${OUTSIDE.partner.ipv4}:9998,sourceport=5555`,
      ]);
    const arrived = async (uid: string) => {
      await world.lab.forgetOutside();
      await send(uid);
      return (await world.leaked(OUTSIDE.partner.ipv4)).packets;
    };
    await expect.poll(() => arrived(OTHER), SOON).toBe(0);
    expect(await arrived(HELD)).toBe(3);
    expect(await arrived(OTHER)).toBe(0);
    expect(await arrived(HELD)).toBe(3);
    // The kernel carries what is allowed: it is asked about once, not for each packet.
    const asked = async () => {
      const queues = await world.lab.exec("node1", ["cat", "/proc/net/netfilter/nfnetlink_queue"]);
      return queues.stdout.split("\n").reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[7] ?? 0), 0);
    };
    const before = await asked();
    const many = `for i in $(seq 200); do echo x; done | socat -u -b 2 - UDP4-SENDTO:${OUTSIDE.partner.ipv4}:9998,sourceport=5555`;
    await inPod(HELD, ["sh", "-c", many]);
    expect((await asked()) - before).toBeLessThan(20);
    expect((await world.leaked(OUTSIDE.partner.ipv4)).packets).toBeGreaterThanOrEqual(203);
    world.write("app.yaml", POLICY);
    world.write("b.yaml", null);
    await expect.poll(() => get(OTHER, PARTNER, "-k"), SOON).toBe("200");
    expect(await arrived(OTHER)).toBe(3);
    // What the rules note by themselves is no change that somebody made.
    expect(world.agent!.log.filter(({ event }) => event === "ruleset-restored")).toEqual([]);
  });

  test("an open flow ends when the policy no longer allows it", async () => {
    const open = inPod(HELD, ["sh", "-c", `(echo a; sleep 6; echo b) | socat -t 2 - ${ECHO}`]);
    await world.until("flow", () =>
      world.records().some((one) => one.workload?.name === "held" && one.destination?.port === PORTS.echo.server),
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    const without = POLICY.slice(0, POLICY.indexOf("    - name: partner"));
    world.write("app.yaml", without);
    expect((await open).stdout).toBe("a\n");
    world.write("app.yaml", POLICY);
    await expect.poll(() => get(HELD, PARTNER, "-k"), SOON).toBe("200");
  });
});

test("a pod whose object is gone stays closed as long as it runs, also for the next agent", async () => {
  await list(other, free);
  await world.until("change", () =>
    world.agent?.log.some(({ event, workloads }) => event === "applied" && workloads === 5),
  );
  expect(await get(HELD, `http://${EVIL.ipv4}/`, "-m", "2")).toMatch(/^curl/);
  expect(await get(HELD, PARTNER, "-k", "-m", "2")).toMatch(/^curl/);
  expect(await get(OTHER, PARTNER, "-k")).toBe("200");
  // Nobody tells the next agent that it was a pod.
  await world.agent?.kill();
  await start();
  expect(await get(HELD, `http://${EVIL.ipv4}/`, "-m", "2")).toMatch(/^curl/);
  expect(await get(HELD, PARTNER, "-k", "-m", "2")).toMatch(/^curl/);
  expect(await get(OTHER, PARTNER, "-k")).toBe("200");
  await list(held, other, free);
  await expect.poll(() => get(HELD, PARTNER, "-k", "-m", "2"), SOON).toBe("200");
});

describe("without an agent", () => {
  test("what is held stays closed, what is not stays free; the next agent goes on", async () => {
    const open = inPod(HELD, ["sh", "-c", `(echo a; sleep 9; echo b) | socat -t 2 - ${ECHO}`]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await world.agent?.kill();
    world.agent = null;
    await world.lab.forgetOutside();
    expect(await get(HELD, `http://${EVIL.ipv4}/`, "-m", "2")).toBe("curl 28");
    expect(await get(HELD, PARTNER, "-k", "-m", "2")).toBe("curl 28");
    expect(await get(FREE, `http://${EVIL.ipv4}/`)).toBe("200");
    expect(await get(null, `http://${EVIL.ipv4}/`)).toBe("200");
    expect(await world.leaked(OUTSIDE.partner.ipv4)).toEqual({ packets: 0, payload: 0 });
    await start();
    expect((await open).stdout).toBe("a\nb\n");
    expect(await get(HELD, PARTNER, "-k")).toBe("200");
    expect(await get(HELD, `http://${EVIL.ipv4}/`)).toBe(DENIED);
  });

  test("a pod that starts meanwhile is open; the next agent says so, and lets nothing more of it out, on old sockets neither", async () => {
    await world.agent?.kill();
    world.agent = null;
    await mkdir(join(ROOT, GROUPS[LATE]!, "container"), { recursive: true });
    await world.lab.forgetOutside();
    const isHeld = join(world.lab.directory, "late-is-held");
    const wait = `until [ -e ${isHeld} ]; do sleep 0.1; done`;
    // Three sockets that were made before: one that sends all the time, one that will, and one that only takes.
    const datagrams = inPod(LATE, [
      "sh",
      "-c",
      `(until [ -e ${isHeld}.over ]; do echo x; sleep 0.05; done) | socat -u - UDP4-SENDTO:${EVIL.ipv4}:9999`,
    ]);
    const silent = inPod(LATE, ["sh", "-c", `(${wait}; echo secret) | socat -t 5 - TCP4:${EVIL.ipv4}:8443`]);
    const echoing = inPod(LATE, ["sh", "-c", `(echo a; ${wait}; echo b) | socat -t 5 - ${ECHO}`]);
    await expect.poll(async () => (await world.leaked(EVIL.ipv4)).packets, SOON).toBeGreaterThan(10);
    await list(held, other, free, hostPod("late", LATE));
    // Its policy leaves it nothing of what it has open.
    world.write("app.yaml", POLICY.slice(0, POLICY.indexOf("    - name: partner")));
    await start();
    const said = await world.agent!.event("host-pods-were-open");
    expect(said).toMatchObject({ count: 1, pods: ["app-ns/late"] });
    await world.lab.forgetOutside();
    writeFileSync(isHeld, "");
    const ended = await Promise.all([silent, echoing]);
    writeFileSync(`${isHeld}.over`, "");
    await datagrams;
    // Of several within a moment not each has a record.
    const cut = () =>
      world.records().some((one) => one.workload?.name === "late" && one.reason === "NoRememberedDecision");
    await world.until("connection that was reset", cut);
    expect(ended[1]!.stdout).toBe("a\n");
    expect(await world.leaked(EVIL.ipv4, OUTSIDE.partner.ipv4)).toEqual({ packets: 0, payload: 0 });
    await list(held, other, free);
    world.write("app.yaml", POLICY);
    await expect.poll(() => get(HELD, PARTNER, "-k"), SOON).toBe("200");
  });

  test("one in a control group namespace of its own says that it cannot make the table, and goes on with one that is made", async () => {
    await world.agent?.stop();
    await run(inNetns(netns(), ["nft", "delete", "table", "inet", "sallyport_host"]));
    // As a container is: the root of its namespace is its own group.
    const own = join(ROOT, "agent");
    await mkdir(own, { recursive: true });
    const apart = ["sh", "-ec", 'echo $$ >"$0/cgroup.procs"; exec unshare --cgroup "$@"', own];
    await start([...apart, process.execPath]);
    const { problem } = await world.agent!.event("host-pods-not-held");
    expect(problem).toMatch(/has a control group namespace of its own/);
    const prepare = await run(inNetworkOnly(netns(), [...COMMAND, "agent", "--prepare-host-network"]));
    expect(prepare.stdout).toMatch(/can be told apart/);
    await expect.poll(() => get(HELD, `http://${EVIL.ipv4}/`), SOON).toBe(DENIED);
    expect(await get(HELD, PARTNER, "-k")).toBe("200");
    expect(await get(FREE, `http://${EVIL.ipv4}/`)).toBe("200");
    await world.agent?.stop();
    await start();
  });

  test("where it is switched off, what an agent held before is let go, at a hand-over too; and held again later", async () => {
    const open = inPod(HELD, ["sh", "-c", `(echo a; sleep 12; echo b) | socat -t 2 - ${ECHO}`]);
    await world.until("flow", () => world.records().some(({ destination }) => destination?.port === PORTS.echo.server));
    const before = world.agent!;
    const isNoted = () => existsSync(join(world.lab.directory, "state-node1/held-pods.json"));
    expect(isNoted()).toBe(true);
    await start(undefined, ["--control-groups=off"]);
    await expect.poll(() => get(HELD, `http://${EVIL.ipv4}/`), SOON).toBe("200");
    expect(await get(OTHER, `http://[${EVIL.ipv6}]/`)).toBe("200");
    expect(world.agent!.log.some(({ event }) => event === "host-pods-let-go")).toBe(true);
    expect(isNoted()).toBe(false);
    // Nor does the one that goes take away what it had allowed.
    await before.stop();
    expect((await open).stdout).toBe("a\nb\n");
    await world.agent!.stop();
    expect(await get(HELD, `http://${EVIL.ipv4}/`)).toBe("200");
    await start();
    await expect.poll(() => get(HELD, `http://${EVIL.ipv4}/`), SOON).toBe(DENIED);
    expect(await get(HELD, PARTNER, "-k")).toBe("200");
  });

  test("whoever takes the table away finds it back", async () => {
    await run(["ip", "netns", "exec", netns(), "nft", "delete", "table", "inet", "sallyport_host"]);
    await expect.poll(() => get(HELD, `http://${EVIL.ipv4}/`), SOON).toBe(DENIED);
    await run(["ip", "netns", "exec", netns(), "nft", "flush", "map", "inet", "sallyport_host", "held"]);
    await expect.poll(() => get(HELD, `http://${EVIL.ipv4}/`), SOON).toBe(DENIED);
  });
});
