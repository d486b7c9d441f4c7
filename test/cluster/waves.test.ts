import { afterAll, beforeAll, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { must } from "../../src/lab/process.ts";
import type { Cluster } from "./cluster.ts";
import { onMachine } from "./machine.ts";
import { podObject } from "./pods.ts";
import { sharedRelease } from "./shared-release.ts";

const NAMESPACE = "waves";
const WAVES = 5;
const PODS = 40;
/** Pods are started as fast as the machine can: this is for one that is busy with other things. */
const WAVE_MS = 240_000;
/** The one site that pods of a role may reach; of the other they reach nothing. */
const SITES = { red: "api.github.com", blue: "api.weather.gov" } as const;
type Role = keyof typeof SITES;
const other = (role: Role): Role => (role === "red" ? "blue" : "red");

const policy = (role: Role): object => ({
  apiVersion: "sallyport.dev/v1alpha1",
  kind: "EgressPolicy",
  metadata: { name: role, namespace: NAMESPACE },
  spec: {
    priority: 10,
    subject: { podSelector: { matchLabels: { role } } },
    rules: [
      { name: "own", action: "Allow", to: [{ domains: [SITES[role]], ports: [{ protocol: "TCP", port: 443 }] }] },
    ],
  },
});

/**
 * From its first moment, and until it is killed: asks the site that it may not reach, and an address that nobody may; then the one
 * that it may, under its own name. An answer where there must be none is told to the site that it may reach.
 */
const TALKING = `while true; do
  curl -s -m 2 -o /dev/null "https://$2/?$HOSTNAME" && wrong=1
  echo x | nc -w 1 ${OUTSIDE.evil.ipv4} 8080
  curl -s -m 4 -o /dev/null "https://$1/?$HOSTNAME"
  [ -z "$wrong" ] || curl -s -m 4 -o /dev/null "https://$1/?wrong-$HOSTNAME"
  sleep 4
done`;

const talker = (name: string, role: Role): object =>
  podObject(name, {
    namespace: NAMESPACE,
    labels: { role },
    command: ["sh", "-c", TALKING, "sh", SITES[role], SITES[other(role)]],
  });

let cluster: Cluster;
let lab: Lab;

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const kubectl = (...words: string[]) => cluster.kubectl(words);

/** What servers outside answered since the wave began: site, and the query, which is the name of a pod. */
async function answered(): Promise<{ readonly site: string; readonly asker: string }[]> {
  return (await lab.outsideLog()).map(({ host, target }) => ({ site: host, asker: target.replace("/?", "") }));
}

/** Addresses are given out in turn, two hundred of them: the next wave begins at the first one again. */
async function reuseAddresses(): Promise<void> {
  await must(onMachine(cluster.machine, ["sh", "-c", "rm -f /run/cni-ipam/ptp/last_reserved_ip.*"]));
}

/** Pods of a wave by name; roles change places from one wave to the next, so that an address has the other one. */
function wave(number: number): Map<string, Role> {
  const pods = Array.from({ length: PODS }, (_, at): [string, Role] => {
    const role = (at + number) % 2 === 0 ? "red" : "blue";
    return [`${role}-${number}-${at}`, role];
  });
  return new Map(pods);
}

beforeAll(async () => {
  ({ cluster, lab } = await sharedRelease());
  await cluster.apply([{ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } }]);
  await cluster.apply([policy("red"), policy("blue")]);
}, 300_000);

afterAll(async () => {
  await kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false");
}, 60_000);

test(
  `${WAVES * PODS} pods that come and go, on addresses that had the other role: none is judged as another`,
  async () => {
    const rolesOf = new Map<string, Set<Role>>();
    const evil: readonly string[] = Object.values(OUTSIDE.evil);
    await lab.forgetOutside();
    for (let number = 0; number < WAVES; number++) {
      const pods = wave(number);
      await reuseAddresses();
      await cluster.apply([...pods].map(([name, role]) => talker(name, role)));
      // Each is let out to its own site, sooner or later.
      const waiting = new Set(pods.keys());
      const deadline = performance.now() + WAVE_MS;
      while (waiting.size > 0 && performance.now() < deadline) {
        await delay(250);
        for (const { site, asker } of await answered()) {
          const role = asker.startsWith("red-") ? "red" : "blue";
          if (site === SITES[role]) waiting.delete(asker);
        }
      }
      expect([...waiting], `pods of wave ${number} that reached nothing`).toEqual([]);
      const listed = JSON.parse(await kubectl("get", "pods", "-n", NAMESPACE, "-o", "json"));
      for (const { metadata, status } of listed.items) {
        const roles = rolesOf.get(status.podIP) ?? new Set<Role>();
        rolesOf.set(status.podIP, roles.add(metadata.labels.role));
      }
      // While they talk. A new pod gets an address as soon as the old one has let go of it.
      await kubectl("delete", "pod", "--all", "-n", NAMESPACE, "--grace-period=0", "--force");
    }
    const wrong = (await answered()).filter(
      ({ site, asker }) => !asker.startsWith(site === SITES.red ? "red-" : "blue-"),
    );
    expect(wrong).toEqual([]);
    expect((await lab.outsideSaw()).filter(({ address }) => evil.includes(address))).toEqual([]);
    const reused = [...rolesOf.values()].filter((roles) => roles.size === 2);
    expect(reused.length).toBeGreaterThan(PODS / 2);
  },
  (WAVES + 1) * WAVE_MS,
);
