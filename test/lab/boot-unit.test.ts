import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { renderBootRuleset } from "../../src/kernel/ruleset-boot.ts";
import { must, run } from "../../src/lab/process.ts";
import { parseCidr } from "../../src/net/cidr.ts";
import { endControlGroups, inGroups } from "../cluster/control-groups.ts";

const UNIT = fileURLToPath(new URL("../../deploy/node/sallyport-boot.service", import.meta.url));
const SYSTEMD = "/lib/systemd/systemd";

const cidr = (text: string) => {
  const read = parseCidr(text);
  if (!read.ok) throw new Error(read.problem);
  return read.cidr;
};
const pods = [cidr("10.244.1.0/24")];
const nobody = { workloads: [], observed: [], podInterfaces: [], bypass: [], asideUntil: 0 };
const RULES = renderBootRuleset({
  ...{ markMask: 0x3f, method: "xtables", queueNumber: 5100, generation: 0, other: false, podLinks: [] },
  failMode: "Closed",
  sets: { podRanges: pods, inside: pods, internalEndpoints: [], resolvers: [], ...nobody },
});

/** What stands in for a node's services writes down which tables there are when it starts. */
const service = (name: string, order: string) => `
[Unit]
DefaultDependencies=no
${order}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'nft list tables > OUT/${name}'
`;
const target = (wants: string) => `[Unit]\nDefaultDependencies=no\n${wants}\n`;
const SHOWN = "--property=Id --property=ActiveState --property=Result --property=ConditionResult";
/** The last to run, whatever became of the others. */
const LAST = `
[Unit]
DefaultDependencies=no
After=kubelet.service containerd.service network.service sallyport-boot.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'systemctl show ${SHOWN} kubelet.service sallyport-boot.service > OUT/state; mv OUT/state OUT/last'
`;
const UNITS: Readonly<Record<string, string>> = {
  "boot.target": target("Wants=last.service kubelet.service containerd.service network.service"),
  "network-pre.target": target(""),
  "network.service": service("network", "After=network-pre.target"),
  "containerd.service": service("containerd", ""),
  "kubelet.service": service("kubelet", ""),
  "last.service": LAST,
};

/** A machine of its own as far as systemd sees, with nothing of the host's to write to but OUT. `$1`: the folder; `$2`: whether there is a file of rules. */
const MACHINE = `
mount --bind "$1" "$1"
mount -o remount,bind,ro /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -o remount,bind,ro /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mkdir /var/lib/sallyport
[ "$2" = none ] || cp "$1/boot.nft" /var/lib/sallyport/boot.nft
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=sallyport-test "SYSTEMD_UNIT_PATH=$1/etc/systemd/system" \\
  ${SYSTEMD} --system --unit=boot.target --log-target=console --show-status=0
`;

interface Boot {
  /** Tables of the kernel when a service started; undefined: it did not. */
  readonly seen: Readonly<Record<string, string | undefined>>;
  /** `systemctl show`, by unit. */
  readonly units: ReadonlyMap<string, Readonly<Record<string, string>>>;
}

describe.skipIf(!existsSync(SYSTEMD))("the unit of a node's boot, under systemd", () => {
  let folder: string;
  let group: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "sallyport-boot-"));
    group = `${ownGroup()}/sallyport-boot-${process.pid}`;
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** `rules`: what the agent left; null: nothing. */
  async function boot(rules: string | null): Promise<Boot> {
    const units = join(folder, "etc/systemd/system");
    const out = join(folder, "out");
    for (const path of [join(folder, "etc"), out]) rmSync(path, { recursive: true, force: true });
    for (const path of [units, out]) mkdirSync(path, { recursive: true });
    for (const [name, text] of Object.entries(UNITS)) writeFileSync(join(units, name), text.replaceAll("OUT", out));
    writeFileSync(join(units, "sallyport-boot.service"), readFileSync(UNIT));
    writeFileSync(join(folder, "boot.nft"), rules ?? "");
    await must(["systemctl", `--root=${folder}`, "enable", "sallyport-boot.service"]);
    await start(out, rules === null ? "none" : "some");
    const read = (name: string) =>
      existsSync(join(out, name)) ? readFileSync(join(out, name), "utf8").trim() : undefined;
    const shown = (read("last") ?? "").split("\n\n").map((block) => {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split("=") as [string, string]));
      return [fields["Id"] ?? "", fields] as const;
    });
    const seen = Object.fromEntries(["network", "containerd", "kubelet"].map((name) => [name, read(name)]));
    return { seen, units: new Map(shown) };
  }

  /** Runs the machine until its last service has run, or for 30 s. */
  async function start(out: string, rules: string): Promise<void> {
    mkdirSync(group);
    const spaces = ["--pid", "--fork", "--kill-child", "--mount", "--net", "--uts", "--ipc", "--cgroup"];
    const machine = ["unshare", ...spaces, "--propagation=private", "sh", "-ec", MACHINE, "sh", folder, rules];
    const over = run(inGroups([group], ["timeout", "-s", "KILL", "30", ...machine]), { timeoutMs: 40_000 });
    let said = "";
    void over.then(({ stdout, stderr }) => {
      said = `${stdout}\n${stderr}`;
    });
    try {
      await expect
        .poll(() => existsSync(join(out, "last")) || said, { timeout: 35_000, message: "the machine has booted" })
        .toBe(true);
    } finally {
      await endControlGroups([group]);
      await over;
    }
  }

  test("is one that systemd understands", async () => {
    const { status, stdout, stderr } = await run(["systemd-analyze", "verify", "--man=no", UNIT]);
    expect([status, stdout, stderr]).toEqual([0, "", ""]);
  });

  test("closes pods before the network, the container runtime and kubelet start", async () => {
    const { seen, units } = await boot(RULES);
    expect(seen).toEqual({
      network: "table inet sallyport",
      containerd: "table inet sallyport",
      kubelet: "table inet sallyport",
    });
    expect(units.get("sallyport-boot.service")).toMatchObject({ ActiveState: "active", Result: "success" });
  });

  test("keeps kubelet from starting where the rules cannot be loaded", async () => {
    const { seen, units } = await boot("table inet sallyport { this is none }\n");
    expect(units.get("sallyport-boot.service")).toMatchObject({ ActiveState: "failed", Result: "exit-code" });
    expect(units.get("kubelet.service")).toMatchObject({ ActiveState: "inactive" });
    expect(seen["kubelet"]).toBeUndefined();
    expect(seen["network"]).toBe("");
  });

  test("is in nobody's way on a node that has no rules", async () => {
    const { seen, units } = await boot(null);
    expect(units.get("sallyport-boot.service")).toMatchObject({ ActiveState: "inactive", ConditionResult: "no" });
    expect(seen).toEqual({ network: "", containerd: "", kubelet: "" });
  });
});

/** Where this process is in the hierarchy of version 2, wherever that is mounted. */
function ownGroup(): string {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  const [, mounted = ""] = mounts.map((line) => line.split(" ")).find(([, , type]) => type === "cgroup2") ?? [];
  const path = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "";
  if (mounted === "") throw new Error("this host has no control groups of version 2");
  return `${mounted}${path === "/" ? "" : path}`;
}
