import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import koffi from "koffi";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Coverage } from "../../src/agent/coverage/coverage.ts";
import { endingOf } from "../../src/agent/flow-ending.ts";
import { createLogger } from "../../src/agent/log.ts";
import type { FlowEnding } from "../../src/flow/ending.ts";
import { ConntrackEndings } from "../../src/kernel/conntrack.ts";
import { Routing } from "../../src/kernel/routing.ts";
import { parseAddress } from "../../src/net/address.ts";
import { parseCidr } from "../../src/net/cidr.ts";

const CLONE_NEWNET = 0x40000000;
const setns = koffi.load(null).func("int setns(int fd, int kind)") as (fd: number, kind: number) => number;
const space = (name: string) => `spu-${name}-${process.pid}`;
const NODE = space("node");
const OUTSIDE = space("out");
/** Of the node's ends, and of the outside: so what is redirected past the node is taken there. */
const MAC = "02:00:00:00:00:01";
const SERVER = "192.0.2.1";
const NODE_ADDRESS = "192.0.2.11";

/**
 * Each on a link of its own; `hidden` behind a pair of links of the node, as some networks lead to all their pods. `talker` sends much to the node itself, in
 * one flow, and the rest past it; `closed` answers calls with resets and does nothing else.
 */
const PODS = ["honest", "past", "denied", "hidden", "talker", "closed"] as const;
type Pod = (typeof PODS)[number];
const addressOf = (pod: Pod) => `10.244.1.${10 + PODS.indexOf(pod)}`;
const linkOf = (pod: Pod) => (pod === "hidden" ? "lxc7" : `pod-${pod}`);

/** Windows that are over soon, and belief that ends soon. */
const QUICK = { windowMs: 400, packets: 20, part: 10, windows: 3, believedMs: 1_000 };

let home = -1;
let coverage: Coverage;
let ended: ConntrackEndings;
let reader: NodeJS.Timeout;
let listener: ((ending: FlowEnding) => void) | null = null;
let routing: Routing;
const pings: ChildProcess[] = [];
const reported = new Set<string>();
let denials = 0;

const ip = (batch: string, ...where: readonly string[]) =>
  execFileSync("ip", [...where, "-batch", "-"], { input: batch.trim(), timeout: 20_000 });
const inside = (name: string, program: string, words: readonly string[], input = "") =>
  execFileSync("ip", ["netns", "exec", name, program, ...words], { input, timeout: 20_000 });

function makePod(pod: Pod): void {
  const [link, name] = [linkOf(pod), space(pod)];
  ip(`
    netns add ${name}
    link add ${link} netns ${NODE} address ${MAC} type veth peer name eth0 netns ${name}
  `);
  ip(`link set ${link} up`, "-n", NODE);
  ip(
    `
    addr add ${addressOf(pod)}/32 dev eth0
    link set eth0 up
    neigh add 169.254.1.1 lladdr ${MAC} dev eth0
    route add 169.254.1.1/32 dev eth0
    route add default via 169.254.1.1
  `,
    "-n",
    name,
  );
}

/** As a program at the interface does: what comes in there goes out to the network, and the IP stack does not see it; or only what is for `to`. */
function redirect(pod: Pod, to: string | null = null): void {
  const match = to === null ? ["u32", "0", "0"] : ["ip", "dst", `${to}/32`];
  const filter = [
    "filter",
    "add",
    "dev",
    linkOf(pod),
    "ingress",
    "protocol",
    to === null ? "all" : "ip",
    "u32",
    "match",
  ];
  inside(NODE, "tc", ["qdisc", "add", "dev", linkOf(pod), "clsact"]);
  inside(NODE, "tc", [...filter, ...match, "action", "mirred", "egress", "redirect", "dev", "lan0"]);
}

beforeAll(() => {
  ip(`
    netns add ${NODE}
    netns add ${OUTSIDE}
    link add lan0 netns ${NODE} type veth peer name lanx netns ${OUTSIDE}
  `);
  ip(
    `
    link set lanx address ${MAC}
    link set lanx up
    addr add ${SERVER}/24 dev lanx
    route add 10.244.0.0/16 via 192.0.2.11
  `,
    "-n",
    OUTSIDE,
  );
  for (const pod of PODS) makePod(pod);
  ip(
    `
    link set lo up
    addr add 192.0.2.11/24 dev lan0
    link set lan0 up
    link add all0 type veth peer name all1
    link set all0 up
    link set all1 up
    ${PODS.map((pod) => `route add ${addressOf(pod)}/32 dev ${pod === "hidden" ? "all0" : linkOf(pod)}`).join("\n")}
  `,
    "-n",
    NODE,
  );
  const sysctls = ["net.ipv4.ip_forward=1", "net.netfilter.nf_conntrack_acct=1"];
  inside(NODE, "sysctl", ["-qw", ...sysctls]);
  const rules = `
    table inet lab {
      chain forwarded {
        type filter hook forward priority 0; policy accept;
        ip saddr ${addressOf("denied")} drop
        ct state new accept
      }
    }
  `;
  inside(NODE, "nft", ["-f", "-"], rules);
  redirect("past");
  redirect("hidden");
  redirect("talker", SERVER);
  home = openSync("/proc/thread-self/ns/net", "r");
  enter(openSync(`/run/netns/${NODE}`, "r"));
  routing = new Routing();
  ended = new ConntrackEndings();
  reader = setInterval(tell, 20);
  coverage = new Coverage({
    ...{ log: createLogger("silent"), hostPods: { whyNot: () => null }, changed: () => note(), unseen: QUICK },
  });
});

/** As the agent's own reader does. */
function tell(): void {
  ended.drain((entry) => listener?.(endingOf(entry)));
}

afterAll(() => {
  clearInterval(reader);
  coverage?.close();
  ended?.close();
  routing?.close();
  for (const ping of pings) ping.kill("SIGKILL");
  if (home >= 0) enter(home);
  for (const name of [NODE, OUTSIDE, ...PODS.map(space)]) {
    try {
      execFileSync("ip", ["netns", "delete", name], { stdio: "ignore" });
    } catch {
      // It was not made.
    }
  }
});

function enter(descriptor: number): void {
  if (setns(descriptor, CLONE_NEWNET) !== 0) throw new Error("cannot change the network namespace");
  closeSync(descriptor);
}

function note(): void {
  for (const { pod, reason } of coverage.report.notEnforced) reported.add(`${pod} ${reason}`);
}

const received = (link: string) => routing.counted().find(({ name }) => name === link)?.received ?? 0;
const notHeld = () => coverage.report.notEnforced.map(({ pod, reason }) => `${pod} ${reason}`).sort();

test("what goes past the rules is found out, and of honest pods nothing is said", async () => {
  const ping = (pod: Pod, to: string, every: string) => {
    const words = ["netns", "exec", space(pod), "ping", "-q", "-i", every, "-w", "100", to];
    pings.push(spawn("ip", words, { stdio: "ignore" }));
  };
  for (const pod of PODS) if (pod !== "closed") ping(pod, SERVER, "0.01");
  ping("talker", NODE_ADDRESS, "0.002");
  const calls = `setInterval(() => require("node:net").connect(9, "${addressOf("closed")}").on("error", () => {}), 5)`;
  pings.push(spawn("ip", ["netns", "exec", OUTSIDE, process.execPath, "-e", calls], { stdio: "ignore" }));
  const cidr = parseCidr("10.244.0.0/16");
  if (!cidr.ok) throw new Error(cidr.problem);
  coverage.signs = {
    refused: (id) => (PODS[id] === "denied" ? ++denials : 0),
    flows: () => 0,
    endings: {
      listen: (each) => {
        listener = each;
      },
      settle: async () => tell(),
      get lost() {
        return ended.overruns;
      },
    },
  };
  coverage.set({
    workloads: PODS.map((name, id) => ({
      ...{ id, uid: name, namespace: "ns", name, labels: {}, namespaceLabels: {}, serviceAccount: "default" },
      ...{ node: "node1", addresses: [parseAddress(addressOf(name))!] },
    })),
    unheld: [],
    policies: [],
    config: { systemNamespaces: [], podCIDRs: [cidr.cidr], podInterfaces: [] },
    nodeAddresses: [parseAddress(NODE_ADDRESS)!],
  });
  await expect
    .poll(notHeld, { timeout: 30_000, interval: 200 })
    .toEqual(["hidden NotSeenByHooks", "past NotSeenByHooks", "talker NotSeenByHooks"]);
  const messages = coverage.report.notEnforced.map(({ message }) => message).sort();
  expect(messages[0]).toContain("what comes in by `pod-past` is not known to the node's connection tracking");
  expect(messages[2]).toContain("what comes in by the pods' interfaces is not known");
  // All of them have sent enough to be told about.
  for (const pod of PODS) expect(received(linkOf(pod))).toBeGreaterThan(QUICK.packets * QUICK.windows);
});

test("what is forwarded by the node again is held again", async () => {
  inside(NODE, "tc", ["qdisc", "delete", "dev", linkOf("past"), "clsact"]);
  await expect
    .poll(notHeld, { timeout: 30_000, interval: 200 })
    .toEqual(["hidden NotSeenByHooks", "talker NotSeenByHooks"]);
  expect([...reported].sort()).toEqual(["hidden NotSeenByHooks", "past NotSeenByHooks", "talker NotSeenByHooks"]);
});
