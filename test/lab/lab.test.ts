import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE, PUBLISHED, SERVICES } from "../../src/lab/addresses.ts";
import { createLab, type Lab, openLab } from "../../src/lab/lab.ts";
import { labOfNetns } from "../../src/lab/names.ts";
import { scenario } from "../../src/lab/scenario.ts";
import { listLabs, netnsNames } from "../../src/lab/state.ts";
import { removeLab } from "../../src/lab/teardown.ts";

/** Names of this run only: another run on the same machine has other labs. */
const suffix = (process.pid % 46656).toString(36);
const name = (letter: string) => `t${letter}${suffix}`;

const both = (pair: { ipv4: string; ipv6: string }) => [pair.ipv4, pair.ipv6] as const;
const url = (address: string, scheme = "http") => `${scheme}://${address.includes(":") ? `[${address}]` : address}/`;
const curl = (...more: string[]) => ["curl", "-sS", "-m", "5", ...more];

describe("a lab without Sallyport", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await createLab(scenario("two-apps", name("a"), 2));
  });
  afterAll(async () => {
    await removeLab(name("a"));
  });

  const app1 = "app1-ns/app1";
  const app2 = "app2-ns/app2";
  const out = async (pod: string, argv: readonly string[], input?: string) => {
    const result = await lab.exec(pod, argv, { timeoutMs: 10_000, ...(input === undefined ? {} : { input }) });
    return `${result.stdout}${result.stderr}`;
  };

  type Row = [what: string, pod: string, argv: string[], says: string | RegExp];
  const services: Row[] = [
    ["HTTP", app1, curl("-4", "http://api.github.com/x"), `reached=api.github.com address=${OUTSIDE.githubApi.ipv4} `],
    ["HTTP, IPv6", app1, curl("-6", "http://api.github.com/x"), `address=${OUTSIDE.githubApi.ipv6} port=80`],
    ["HTTPS", app1, curl("-4", "https://raw.github.com/"), "reached=raw.github.com"],
    ["HTTPS, IPv6", app1, curl("-6", "https://raw.github.com/"), "reached=raw.github.com"],
    ["the apex", app1, curl("https://github.com/"), "reached=github.com"],
    ["REST API", app2, curl("https://api.weather.gov/points/39.7,-97.1"), '"reached":"api.weather.gov"'],
    ["REST API, POST", app2, curl("-d", "x", "https://api.weather.gov/alerts"), "Method Not Allowed"],
    ["another name of the zone", app2, curl("https://www.weather.gov/"), "reached=www.weather.gov"],
    ["a CNAME inside the zone", app2, curl("-6", "https://www2.weather.gov/"), `address=${OUTSIDE.weatherApi.ipv6}`],
    ["a CNAME to another zone", app1, curl("-6", "http://assets.github.com/"), `address=${OUTSIDE.evil.ipv6}`],
    [
      "an allowed name at a foreign address",
      app1,
      ["curl", "-s", "--resolve", `api.github.com:443:${OUTSIDE.evil.ipv4}`, "https://api.github.com/"],
      `reached=api.github.com address=${OUTSIDE.evil.ipv4} `,
    ],
    ["a name that is not served", app1, curl("-H", "Host: nowhere.example", url(OUTSIDE.evil.ipv4)), "reached=default"],
    [
      "a second request, another Host",
      app1,
      curl("http://api.github.com/", "--next", "-s", "--connect-to", "::api.github.com:", "http://evil.example/"),
      "reached=evil.example",
    ],
    ["metadata by rebinding", app1, curl("-4", "http://rebind.github.com/latest/meta-data/"), "reached=metadata"],
    ["SSH", app1, ["ssh", "-4", "root@partner.example"], "reached=ssh address=203.0.113.10 port=22"],
    ["SSH, IPv6, another port", app1, ["ssh", "-6", "-p", "2222", "root@partner.example"], "port=2222"],
    ["DNS by UDP", app2, ["dig", "+short", "@dns.google", "api.github.com"], OUTSIDE.githubApi.ipv4],
    [
      "DNS by TCP, IPv6",
      app2,
      ["dig", "-6", "+tcp", "+short", "@dns.google", "AAAA", "api.github.com"],
      OUTSIDE.githubApi.ipv6,
    ],
    ["an open resolver", app2, ["dig", "+short", "@198.51.100.53", "api.github.com"], OUTSIDE.evil.ipv4],
    ["a name that does not exist", app2, ["dig", "nowhere.example"], "status: NXDOMAIN"],
    [
      "an answer too long for a datagram",
      app1,
      ["dig", "+noedns", "crowd.github.com"],
      "Truncated, retrying in TCP mode",
    ],
    ["a client that comes again by TCP", app1, curl("-4", "https://crowd.github.com/"), "reached=crowd.github.com"],
    ["the HTTPS record", app1, ["dig", "+short", "ech.github.com", "HTTPS"], " ech="],
    ["ping", app2, ["ping", "-c1", "-W2", "evil.example"], "1 received"],
    ["ping, IPv4", app2, ["ping", "-4", "-c1", "-W2", "evil.example"], "1 received"],
    ["a pod on the other node", app1, ["ping", "-c1", "-W2", "10.244.2.11"], "1 received"],
    ["a cluster name", app1, curl("http://web-svc.inside-ns/"), "reached=inside-ns/web"],
    ["the node itself", "node2", curl("http://api.github.com/"), "reached=api.github.com"],
    [
      "TLS is verified",
      app1,
      ["sh", "-c", "openssl s_client -connect api.github.com:443 -servername api.github.com </dev/null"],
      "Verify return code: 0 (ok)",
    ],
  ];
  test.each(services)("%s", async (_what, pod, argv, says) => {
    expect(await out(pod, argv)).toMatch(typeof says === "string" ? new RegExp(quote(says)) : says);
  });

  test.each(both(OUTSIDE.dnsGoogle))("a server that speaks first at %s", async (address) => {
    expect(await out(app2, ["nc", "-w2", address, "25"], "QUIT\r\n")).toContain("220 dns.google ESMTP");
  });

  test.each(both(OUTSIDE.evil))("echo on any port at %s", async (address) => {
    const at = address.includes(":") ? `[${address}]` : address;
    expect(await out(app2, ["socat", "-t1", "-", `UDP:${at}:443`], "one")).toBe("one");
    expect(await out(app2, ["socat", "-t1", "-", `UDP:${at}:40007`], "two")).toBe("two");
    expect(await out(app2, ["socat", "-t1", "-", `TCP:${at}:40007`], "three")).toBe("three");
  });

  test.each(both(SERVICES.web))("a Service that leads inside, %s", async (address) => {
    expect(await out(app1, curl(url(address)))).toContain("reached=inside-ns/web");
  });
  test.each(both(PUBLISHED))("a public address that leads inside, %s", async (address) => {
    expect(await out(app1, curl(url(address)))).toContain("reached=inside-ns/web");
  });
  test.each(both(SERVICES.evil))("a Service that leads outside, %s", async (address) => {
    expect(await out(app1, curl(url(address)))).toContain("reached=default");
  });
  test.each(both(SERVICES.partner))("SSH to a Service that leads outside, %s", async (address) => {
    expect(await out(app1, ["ssh", `root@${address}`])).toContain("reached=ssh address=");
  });

  test("what arrived outside is counted, payload apart", async () => {
    await lab.forgetOutside();
    const { ipv4, ipv6 } = OUTSIDE.evil;
    await out(app1, curl(url(ipv4)));
    await out(app1, ["nc", "-z", "-w2", ipv6, "443"]);
    await out(app1, ["ping", "-c1", "-W2", ipv4]);
    const seen = await lab.outsideSaw();
    const at = (address: string, protocol: string, port: number | null) =>
      seen.find((one) => one.address === address && one.protocol === protocol && one.port === port);
    expect(at(ipv4, "tcp", 80)?.withPayload).toBeGreaterThan(0);
    expect(at(ipv6, "tcp", 443)?.packets).toBeGreaterThan(1);
    expect(at(ipv6, "tcp", 443)?.withPayload).toBe(0);
    expect(at(ipv4, "icmp", null)?.packets).toBe(1);
    expect(at(OUTSIDE.partner.ipv4, "tcp", 22)).toBeUndefined();
    const log = await lab.outsideLog();
    expect(log.map((one) => `${one.site} ${one.address} ${one.method}`)).toEqual([`default ${ipv4} GET`]);
    expect(log[0]?.client).toBe(lab.node(1).address.ipv4);
  });

  test("an outside record changes at once", async () => {
    await lab.setOutsideRecord("github.com", "moving.github.com", "A", [OUTSIDE.partner.ipv4]);
    expect(await out(app1, ["dig", "+short", "moving.github.com"])).toBe(`${OUTSIDE.partner.ipv4}\n`);
    await lab.setOutsideRecord("github.com", "moving.github.com", "A", [OUTSIDE.evil.ipv4]);
    expect(await out(app1, ["dig", "+short", "moving.github.com"])).toBe(`${OUTSIDE.evil.ipv4}\n`);
  });

  test("labels change in the workloads file, and for whoever opens the lab after", async () => {
    await lab.setLabels(app2, { "egress-ruleset": "none" });
    expect(readFileSync(lab.workloadsPath, "utf8")).toContain("egress-ruleset: none");
    expect((await openLab(lab.name)).pod(app2).labels).toEqual({ "egress-ruleset": "none" });
  });

  test("pods come and go, and addresses are used again", async () => {
    const first = await lab.addPod({ namespace: "late-ns", name: "one", node: 2 }, { listed: false });
    expect(readFileSync(lab.workloadsPath, "utf8")).not.toContain("late-ns/one");
    expect(await out("late-ns/one", curl("https://api.github.com/"))).toContain("reached=api.github.com");
    lab.spawn("late-ns/one", ["sleep", "60"], { stdio: "ignore" });
    await lab.removePod("late-ns/one");
    const second = await lab.addPod({ namespace: "late-ns", name: "two", node: 2 }, { host: first.host });
    expect(second.address).toEqual(first.address);
    expect(await out("late-ns/two", curl("-6", "http://api.github.com/"))).toContain("reached=api.github.com");
    await lab.removePod("late-ns/two");
  });

  test("nothing leads out of the lab", async () => {
    const own = statSync("/proc/self/ns/net").ino;
    for (const netns of (await netnsNames()).filter((one) => labOfNetns(one) === lab.name)) {
      expect(statSync(`/run/netns/${netns}`).ino).not.toBe(own);
    }
    // Every link of the machine's own namespace belongs to it: no end of a lab's pair is there.
    const links = readdirSync("/sys/class/net");
    expect(links.filter((link) => /^pod\d+$|^gateway$|^segment$/.test(link))).toEqual([]);
    expect(await out("outside", ["ip", "route", "show", "default"])).toBe("");
    expect(await out("outside", ["ip", "-6", "route", "show", "default"])).toBe("");
  });

  test("a second lab stands beside it, and leaves it alone when it goes", async () => {
    const other = await createLab({
      name: name("b"),
      nodes: 1,
      pods: [{ namespace: "x", name: "y" }],
      masquerade: false,
    });
    try {
      const answer = await other.exec("x/y", curl("-4", "https://api.github.com/"));
      expect(answer.stdout).toContain("reached=api.github.com");
      expect((await other.outsideLog())[0]?.client).toBe(other.pod("x/y").address.ipv4);
      await expect(createLab({ name: name("b"), nodes: 1, pods: [] })).rejects.toThrow("is there already");
    } finally {
      await other.destroy();
    }
    expect(await out(app1, curl("https://api.github.com/"))).toContain("reached=api.github.com");
  });
});

describe("down", () => {
  test("leaves no namespace, process or file", async () => {
    const lab = await createLab({ name: name("c"), nodes: 1, pods: [{ namespace: "x", name: "y" }] });
    // A process that does not want to end, in a session of its own.
    lab
      .spawn("x/y", ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], { stdio: "ignore", detached: true })
      .unref();
    const spaces = await inodes(lab.name);
    expect(processesIn(spaces).length).toBeGreaterThan(5);
    await lab.destroy();
    await expectGone(lab.name, spaces);
    expect(await removeLab(lab.name)).toBe(false);
  });

  test.each([10, 150, 400])("comes by itself when bringing up is aborted after %i ms", async (delay) => {
    const lab = name("e");
    const building = createLab({ name: lab, nodes: 2, pods: [] }, { signal: AbortSignal.timeout(delay) });
    await building.then(
      (up) => up.destroy(),
      () => {},
    );
    await expectGone(lab, new Set());
  });

  test("works after the process that brought it up was killed half-way", async () => {
    const lab = name("d");
    const script = `import { createLab } from ${JSON.stringify(new URL("../../src/lab/lab.ts", import.meta.url).pathname)};
await createLab({ name: ${JSON.stringify(lab)}, nodes: 2, pods: [] });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "ignore" });
    await until(() => existsSync(`/run/netns/sp-${lab}-outside`) && processesIn(inodesNow(lab)).length > 0);
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
    expect(await listLabs()).toContain(lab);
    const spaces = await inodes(lab);
    expect(await removeLab(lab)).toBe(true);
    await expectGone(lab, spaces);
  });
});

async function expectGone(lab: string, spaces: ReadonlySet<string>): Promise<void> {
  expect(processesIn(spaces)).toEqual([]);
  expect((await netnsNames()).filter((netns) => labOfNetns(netns) === lab)).toEqual([]);
  expect(readdirSync("/etc/netns").filter((netns) => labOfNetns(netns) === lab)).toEqual([]);
  expect(existsSync(`/run/sallyport/labs/${lab}`)).toBe(false);
  expect(await listLabs()).not.toContain(lab);
}

async function inodes(lab: string): Promise<ReadonlySet<string>> {
  const names = (await netnsNames()).filter((netns) => labOfNetns(netns) === lab);
  return new Set(names.map((netns) => `net:[${statSync(`/run/netns/${netns}`).ino}]`));
}

function inodesNow(lab: string): ReadonlySet<string> {
  const names = readdirSync("/run/netns").filter((netns) => labOfNetns(netns) === lab);
  return new Set(names.map((netns) => `net:[${statSync(`/run/netns/${netns}`).ino}]`));
}

function processesIn(spaces: ReadonlySet<string>): readonly string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return spaces.has(readlinkSync(`/proc/${pid}/ns/net`));
    } catch {
      return false;
    }
  });
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error("the condition did not come true in 10 s");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function quote(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
