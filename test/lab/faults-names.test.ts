import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE, SERVICES } from "../../src/lab/addresses.ts";
import { inNetworkOnly } from "../../src/lab/process.ts";
import { APP, FaultLab, OTHER } from "../support/fault-lab.ts";

const LOCAL = "127.0.0.53";
const NOBODY = "198.51.100.250";

let fault: FaultLab;
let resolver: ChildProcess | null = null;

beforeAll(async () => {
  fault = await FaultLab.up("fnm");
  await fault.start();
});

afterEach(() => {
  resolver?.kill("SIGKILL");
  resolver = null;
});

afterAll(() => fault?.down());

/** A resolver on the node that answers so much later than the cluster's own. */
async function slowResolver(milliseconds: number): Promise<void> {
  const script = join(import.meta.dirname, "../support/slow-resolver.ts");
  const argv = [process.execPath, script, String(milliseconds), LOCAL, SERVICES.dns.ipv4];
  const [program = "", ...rest] = inNetworkOnly(fault.world.lab.node(1).netns, argv);
  resolver = spawn(program, rest, { stdio: ["ignore", "pipe", "inherit"] });
  await once(resolver.stdout!, "data");
}

function ask(resolvers: readonly string[]): Promise<void> {
  return fault.world.applied(() => fault.world.lab.configYaml(1, { agentResolvers: resolvers }));
}

/** A client with a cache of its own: it connects without asking, so the agent has to. */
function cached(host: string, address: string): Promise<string> {
  const name = `${host}.github.com`;
  return fault.world.get(APP, `https://${name}/`, "-k", "--resolve", `${name}:443:${address}`, "-m", "4");
}

describe("the agent's resolver", () => {
  test("down: a name that nobody asked for is denied and counted; what was resolved and what goes by address works", async () => {
    await fault.world.lab.forgetOutside();
    await ask([NOBODY]);
    expect(await fault.byName(APP, "api")).toBe("200");
    const before = await fault.metrics();
    expect(await cached("raw", OUTSIDE.githubRaw.ipv4)).not.toBe("200");
    await fault.world.until("a failure and a denial in the metrics", async () => {
      const after = await fault.metrics();
      const failed = after.of("resolver_failures_total") > before.of("resolver_failures_total");
      return failed && after.of("denials_total") > before.of("denials_total");
    });
    const denied = await fault.world.until("record", () =>
      fault.world.records().find(({ destination }) => destination?.address === OUTSIDE.githubRaw.ipv4),
    );
    expect(denied).toMatchObject({ action: "Deny", reason: "NotResolved" });
    expect([await fault.byName(APP, "api"), await fault.byAddress(OTHER)]).toEqual(["200", "200"]);
    expect(await fault.closed()).toBe(true);
  });

  test("slow: the packet is held for as long, and then let go", async () => {
    await slowResolver(200);
    await ask([LOCAL]);
    // What is slow here is the way, not the resolver's own search.
    await fault.world.lab.exec("node1", ["dig", "+time=2", `@${LOCAL}`, "gist.github.com", "A"]);
    await fault.world.lab.exec("node1", ["dig", "+time=2", `@${LOCAL}`, "gist.github.com", "AAAA"]);
    const before = await fault.metrics();
    expect(await cached("gist", OUTSIDE.githubGist.ipv4)).toBe("200");
    const after = await fault.metrics();
    const moved = (name: string) => after.of(name) - before.of(name);
    expect(moved("resolver_seconds_sum")).toBeGreaterThan(0.2);
    expect(moved("held_packets_total")).toBeGreaterThan(0);
    expect(moved("resolver_failures_total")).toBe(0);
    expect(await fault.closed()).toBe(true);
  });

  test("too slow is down, and the next one in the list is asked", async () => {
    await slowResolver(2_000);
    await ask([LOCAL, NOBODY]);
    const before = (await fault.metrics()).of("resolver_failures_total");
    expect(await cached("ssh", OUTSIDE.githubSsh.ipv4)).not.toBe("200");
    expect((await fault.metrics()).of("resolver_failures_total")).toBeGreaterThan(before);
    await ask([NOBODY, SERVICES.dns.ipv4]);
    expect(await cached("pages", OUTSIDE.githubPages.ipv4)).toBe("200");
  });
});

describe("the pods' resolver", () => {
  test("gone: names that are bound and addresses go on, nothing opens, and it works again when it is back", async () => {
    const { lab } = fault.world;
    await ask([SERVICES.dns.ipv4]);
    expect(await fault.byName(APP, "api")).toBe("200");
    await lab.forgetOutside();
    const { link: name, address } = lab.pod("kube-system/dns");
    const link = (state: string) => lab.exec("node1", ["ip", "link", "set", name, state]);
    await link("down");
    try {
      expect(await fault.byName(APP, "raw", "2")).not.toBe("200");
      expect(await cached("api", OUTSIDE.githubApi.ipv4)).toBe("200");
      expect(await fault.byAddress(OTHER)).toBe("200");
      expect(await fault.closed()).toBe(true);
    } finally {
      await link("up");
      // Its routes went with the link.
      for (const one of [address.ipv4, address.ipv6]) {
        await lab.exec("node1", ["ip", "route", "replace", one, "dev", name]);
      }
    }
    await fault.world.until("a name", async () => (await fault.byName(APP, "raw", "3")) === "200", 12_000);
  });
});
