import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { AgentLab, appPolicy, sleep } from "../support/agent-lab.ts";

const APP = "app-ns/app";
const WILD = "app-ns/wild";
const SERVER = "app-ns/server";
const EVIL = OUTSIDE.evil;

const POLICY = appPolicy(`    - name: github
      action: Allow
      to: [{ domains: ["*.github.com"], ports: [{ protocol: TCP, port: 443 }] }]
    - name: partner
      action: Allow
      to: [{ cidrs: [203.0.113.10/32, "2001:db8:113::10/128"], ports: [{ protocol: TCP, port: 22 }, { protocol: TCP, port: 8443 }] }]
`);

let world: AgentLab;
let lab: Lab;

beforeAll(async () => {
  world = await AgentLab.up(`agl${process.pid % 10_000}x`, {
    policies: { "app.yaml": POLICY },
    pods: ["app", "wild", "server"].map((name) => ({ namespace: "app-ns", name })),
  });
  lab = world.lab;
});

afterAll(() => world?.down());

/** A download that goes on for half a minute. */
function download(pod: string, url: string, ...more: string[]) {
  const child = lab.spawn(pod, ["curl", "-sSkN", "-m", "60", "-o", "/dev/null", ...more, url], { stdio: "ignore" });
  return { child, runs: () => child.exitCode === null && child.signalCode === null, stop: () => child.kill("SIGKILL") };
}

/** Waits until the node knows an established connection to each address. */
async function established(...addresses: string[]): Promise<void> {
  await world.until(
    `connections to ${addresses}`,
    async () => {
      const lines = (await must(lab, "node1", ["cat", "/proc/net/nf_conntrack"])).split("\n");
      return addresses.every((address) =>
        lines.some((line) => line.includes("ESTABLISHED") && line.includes(`dst=${address} `)),
      );
    },
    10_000,
  );
}

/** A server in a pod, and somebody who talks to it once a 100 ms on one connection. */
function conversation(from: string) {
  const { ipv4 } = lab.pod(SERVER).address;
  const script = `const s=require("net").connect(7000,"${ipv4}");let n=0;s.on("data",()=>n++);s.on("error",()=>process.exit(9));s.on("close",()=>process.exit(9));setInterval(()=>s.write("x"),100);process.on("SIGTERM",()=>{console.log(n);process.exit(0)})`;
  const child = lab.spawn(from, [process.execPath, "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout?.on("data", (text) => {
    said += text;
  });
  return {
    async end(): Promise<number> {
      if (child.exitCode !== null) return -1;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
      return child.exitCode === 0 ? Number(said) : -1;
    },
  };
}

describe("start, stop, crash", () => {
  test("adopts flows by address, ends those that only a name allows, keeps what comes in", async () => {
    lab.spawn(
      SERVER,
      [process.execPath, "-e", `require("net").createServer(s=>{s.on("error",()=>0);s.pipe(s)}).listen(7000,"::")`],
      { stdio: "ignore" },
    );
    const listening = ["sh", "-c", "ss -Hltn sport = :7000"];
    await world.until("server", async () => (await must(lab, SERVER, listening)) !== "", 10_000);
    const fromNode = conversation("node1");
    const byAddress = download(APP, `https://${OUTSIDE.partner.ipv4}:8443/slow`);
    const byName = download(APP, "https://api.github.com/slow");
    const denied = download(APP, `https://${EVIL.ipv4}/slow`);
    // A resolver's flow must not be adopted: the same port could go on asking ungated.
    const dns = lab.spawn(APP, [process.execPath, "-e", ASK_FOR_EVER], { stdio: ["ignore", "pipe", "inherit"] });
    let answers = "";
    dns.stdout?.on("data", (text) => {
      answers += text;
    });
    await established(OUTSIDE.partner.ipv4, OUTSIDE.githubApi.ipv4, EVIL.ipv4, lab.pod(SERVER).address.ipv4);
    await world.until("answer from the resolver", () => answers !== "", 10_000);
    const agent = await world.start({ existingFlows: "Adopt" });
    await world.until("end of what an address does not allow", () => !byName.runs() && !denied.runs(), 2_000);
    expect(byAddress.runs()).toBe(true);
    expect(agent.log.find((line) => line["event"] === "ready")).toMatchObject({ kept: expect.any(Number) });
    answers = "";
    await sleep(400);
    dns.kill("SIGKILL");
    expect(answers).toMatch(/^(3 ?)+$/);
    byAddress.stop();
    expect(await fromNode.end()).toBeGreaterThan(10);
    const ended = world.records().filter(({ action, reason }) => action === "Deny" && reason !== undefined);
    expect(ended.map(({ destination }) => destination?.address)).toContain(EVIL.ipv4);
  });

  test("what is allowed survives SIGTERM and kill -9; what is new waits; nothing denied gets out", async () => {
    const flood = world.script(WILD, "flood.ts", "60", EVIL.ipv4, EVIL.ipv6);
    const over = once(flood, "exit");
    await sleep(700);
    await lab.forgetOutside();
    const inbound = conversation("node1");
    const slow = download(APP, "https://api.github.com/slow");
    const decided = (): boolean =>
      world.records().some(({ action, destination }) => action === "Allow" && destination?.name === "api.github.com");
    await world.until("decision on the download", decided, 10_000);
    await world.agent?.stop();
    // It waits as long as there is no agent, and the kernel sends a SYN again after 1, 3 and 7 s.
    const waiting = world.get(APP, "https://raw.github.com/", "-m", "30");
    await sleep(1_000);
    await world.start();
    expect(await waiting).toBe("200");
    await world.agent?.kill();
    const again = world.get(APP, "https://gist.github.com/", "-m", "30");
    await sleep(1_000);
    await world.start();
    expect(await again).toBe("200");
    expect(slow.runs()).toBe(true);
    // A change that has nothing to do with it, decided by an agent that never saw its name.
    await world.applied(() => lab.setLabels(WILD, { changed: "yes" }));
    await sleep(300);
    expect(slow.runs()).toBe(true);
    await world.applied(() =>
      world.write("app.yaml", POLICY.replace("*.github.com", "*.example.com").replace("443", "444")),
    );
    await world.until("end of the download", () => !slow.runs(), 1_000);
    await world.applied(() => world.write("app.yaml", POLICY));
    flood.kill("SIGKILL");
    await over;
    expect(await inbound.end()).toBeGreaterThan(20);
    expect(await world.leaked(EVIL.ipv4, EVIL.ipv6)).toEqual({ packets: 0, payload: 0 });
  });

  test("the first start closes a flood; existingFlows End ends also what an address allows", async () => {
    await world.agent?.stop();
    await must(lab, "node1", ["nft", "delete", "table", "inet", "sallyport"]);
    const flood = world.script(WILD, "flood.ts", "60", EVIL.ipv4, EVIL.ipv6);
    const over = once(flood, "exit");
    const byAddress = download(APP, `https://${OUTSIDE.partner.ipv4}:8443/slow`);
    await established(OUTSIDE.partner.ipv4);
    await world.until("flood", async () => (await world.leaked(EVIL.ipv4)).payload > 0, 10_000);
    await world.start({ existingFlows: "End" });
    await lab.forgetOutside();
    await sleep(1000);
    expect(byAddress.runs()).toBe(false);
    // Probes and resets of flows that ended; no byte of a pod.
    expect((await world.leaked(EVIL.ipv4, EVIL.ipv6)).payload).toBe(0);
    await lab.forgetOutside();
    await sleep(3_000);
    flood.kill("SIGKILL");
    await over;
    expect(await world.leaked(EVIL.ipv4, EVIL.ipv6)).toEqual({ packets: 0, payload: 0 });
  });

  test("failMode Open: passes without an agent, after a crash and after SIGTERM", async () => {
    await world.agent?.stop();
    const agent = await world.start({ failMode: "Open" });
    expect(await world.get(WILD, `http://${EVIL.ipv4}/`)).toMatch(/^(403|curl)/);
    await agent.kill();
    expect(await world.get(WILD, `http://${EVIL.ipv4}/`)).toBe("200");
    await world.start({ failMode: "Open" });
    expect(await world.get(WILD, `http://${EVIL.ipv4}/`)).not.toBe("200");
    // Closed from here on, without a new start.
    await world.applied(() => lab.configYaml(1, { failMode: "Closed" }));
    await world.agent?.kill();
    expect(await world.get(WILD, `http://${EVIL.ipv4}/`, "-m", "2")).toBe("curl 28");
    const last = await world.start({ failMode: "Open" });
    await last.stop();
    expect(await world.get(WILD, `http://${EVIL.ipv4}/`)).toBe("200");
    expect(last.child.exitCode).toBe(0);
  });
});

/** Asks for a name that is not allowed, from one port, every 50 ms; says the rcode of each answer. */
const ASK_FOR_EVER = `
const s=require("dgram").createSocket("udp4");
const q=Buffer.concat([Buffer.from([7,7,1,0,0,1,0,0,0,0,0,0]),...["evil","example"].map(l=>Buffer.concat([Buffer.from([l.length]),Buffer.from(l)])),Buffer.from([0,0,1,0,1])]);
s.on("message",m=>process.stdout.write((m[3]&15)+" "));s.on("error",()=>0);
setInterval(()=>s.send(q,53,"10.96.0.10"),50);`;

async function must(on: Lab, target: string, argv: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await on.exec(target, argv);
  if (status !== 0) throw new Error(stderr);
  return stdout;
}
