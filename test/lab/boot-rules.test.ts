import { once } from "node:events";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { inNetworkOnly, must } from "../../src/lab/process.ts";
import { AgentLab, appPolicy } from "../support/agent-lab.ts";

const APP = "app-ns/app";
/** No policy selects it: nothing was ever denied to it. */
const FREE = "free-ns/free";
const PARTNER = OUTSIDE.partner.ipv4;
const EVIL = OUTSIDE.evil;

let world: AgentLab;
let lab: Lab;
let file: string;

const onNode = (...argv: string[]) => must(inNetworkOnly(lab.node(1).netns, argv));
const get = (pod: string, address: string, port: number) =>
  world.get(pod, `https://${address}:${port}/`, "-k", "-m", "2");

beforeAll(async () => {
  world = await AgentLab.up(`abo${process.pid % 10_000}x`, {
    policies: {
      "app.yaml": appPolicy(`    - name: partner
      action: Allow
      to: [{ cidrs: [${PARTNER}/32], ports: [{ protocol: TCP, port: 8443 }] }]
`),
    },
    pods: [
      { namespace: "app-ns", name: "app" },
      { namespace: "free-ns", name: "free" },
    ],
  });
  lab = world.lab;
  file = join(lab.directory, "boot", "boot.nft");
});

afterAll(() => world?.down());

/** What a boot leaves of an agent: nothing in the kernel, nothing in /run. The pods send as soon as they can. */
async function reboot(): Promise<void> {
  await world.agent?.stop();
  await onNode("nft", "delete", "table", "inet", "sallyport");
  for (const program of ["iptables-nft", "ip6tables-nft"]) await onNode(program, "-t", "mangle", "-F");
  await onNode("conntrack", "-F");
  rmSync(join(lab.directory, "state-node1"), { recursive: true, force: true });
}

test("with the rules of before, nothing leaves a pod from the boot until an agent decides", async () => {
  await world.start({}, world.flows, ["--boot-rules", file]);
  expect(await get(APP, EVIL.ipv4, 443)).not.toBe("200");
  expect(await get(FREE, EVIL.ipv4, 443)).toBe("200");
  // It knows no pod: after a boot its address may be another's.
  expect(readFileSync(file, "utf8")).not.toContain(lab.pod(FREE).address.ipv4);
  await reboot();
  expect(await get(APP, EVIL.ipv4, 443)).toBe("200");
  await onNode("nft", "-f", file);
  await lab.forgetOutside();
  const flood = world.script(APP, "flood.ts", "60", EVIL.ipv4, EVIL.ipv6);
  const over = once(flood, "exit");
  expect([await get(APP, EVIL.ipv4, 443), await get(APP, PARTNER, 8443), await get(FREE, EVIL.ipv4, 443)]).toEqual(
    Array(3).fill(expect.not.stringMatching("200")),
  );
  await world.start({}, world.flows, ["--boot-rules", file]);
  expect([await get(APP, PARTNER, 8443), await get(APP, EVIL.ipv4, 443)]).toEqual([
    "200",
    expect.not.stringMatching("200"),
  ]);
  flood.kill("SIGKILL");
  await over;
  expect(await world.leaked(EVIL.ipv4, EVIL.ipv6)).toEqual({ packets: 0, payload: 0 });
  expect(await get(FREE, EVIL.ipv4, 443)).toBe("200");
});

test("an agent that fails open closes no boot", async () => {
  await world.agent?.stop();
  await world.start({ failMode: "Open" }, world.flows, ["--boot-rules", file]);
  expect(existsSync(file)).toBe(false);
});
