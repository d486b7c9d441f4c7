import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { AgentLab, appPolicy, sleep } from "../support/agent-lab.ts";

/** As on nodes whose CNI gives out addresses by itself: those of the pods lie in no range that is known. */
const ELSEWHERE = { podCIDRs: ["100.64.9.0/24"] };
const POLICY = appPolicy(`
    - name: partner
      action: Allow
      to: [{ cidrs: [203.0.113.10/32, "2001:db8:113::10/128"] }]
`);
const PARTNER = `https://${OUTSIDE.partner.ipv4}:8443/`;
const EVIL = OUTSIDE.evil;

let world: AgentLab;
let lab: Lab;

beforeAll(async () => {
  world = await AgentLab.up(`agp${process.pid % 10_000}x`, {
    policies: { "app.yaml": POLICY },
    pods: [
      { namespace: "app-ns", name: "app" },
      { namespace: "app-ns", name: "wild" },
    ],
  });
  lab = world.lab;
  await world.start({ ...ELSEWHERE, podInterfaces: ["pod*"] });
});

afterAll(() => world?.down());

const unlisted = (name: string) => lab.addPod({ namespace: "app-ns", name, node: 1 }, { listed: false });

test("pods outside every range are enforced", async () => {
  expect(await world.get("app-ns/app", PARTNER, "-k")).toBe("200");
  expect(await world.get("app-ns/app", `http://${EVIL.ipv4}/`)).toBe("curl 7");
  expect(await world.get("app-ns/app", `http://[${EVIL.ipv6}]/`)).toBe("curl 7");
});

test("one that nobody has listed yet is held until it is", async () => {
  await unlisted("fresh");
  const request = world.get("app-ns/fresh", PARTNER, "-k");
  await sleep(700);
  await lab.setListed("app-ns/fresh", true);
  expect(await request).toBe("200");
});

test("one that nobody lists is told no, and nothing of it gets out", async () => {
  await unlisted("nobody");
  await lab.forgetOutside();
  expect(await world.get("app-ns/nobody", PARTNER, "-k")).toBe("curl 7");
  expect(await world.get("app-ns/nobody", `http://[${EVIL.ipv6}]/`)).toBe("curl 7");
  const { address } = lab.pod("app-ns/nobody");
  await world.until("record", () =>
    world.records().find((one) => one.reason === "UnknownWorkload" && one.source?.address === address.ipv4),
  );
  const sources = ["198.51.100.200", lab.pod("app-ns/app").address.ipv4];
  await once(world.script("app-ns/nobody", "spoof.ts", OUTSIDE.partner.ipv4, "20", ...sources), "close");
  expect(await world.leaked(OUTSIDE.partner.ipv4, EVIL.ipv6)).toEqual({ packets: 0, payload: 0 });
  await lab.removePod("app-ns/nobody");
});

test("a borrowed address gets nowhere", async () => {
  await lab.forgetOutside();
  const app = lab.pod("app-ns/app").address;
  for (const [to, sources] of [
    [OUTSIDE.partner.ipv4, [app.ipv4, "198.51.100.200", "192.0.2.11"]],
    [OUTSIDE.partner.ipv6, [app.ipv6, "2001:db8:100::200"]],
  ] as const)
    await once(world.script("app-ns/wild", "spoof.ts", to, "20", ...sources), "close");
  expect(await world.leaked(OUTSIDE.partner.ipv4, OUTSIDE.partner.ipv6)).toEqual({ packets: 0, payload: 0 });
});

test("without the interfaces, what is sent before a pod is known leaves", async () => {
  await world.agent?.stop();
  await world.start(ELSEWHERE);
  await unlisted("early");
  expect(await world.get("app-ns/early", `http://${EVIL.ipv4}/`)).toBe("200");
  await world.agent?.stop();
  await world.start({ ...ELSEWHERE, podInterfaces: ["none0", "pod*"] });
  expect(await world.get("app-ns/early", `http://${EVIL.ipv4}/`)).toBe("curl 7");
});
