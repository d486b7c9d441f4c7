import { existsSync } from "node:fs";
import { run } from "./process.ts";

/** Programs the lab runs, and the Debian package each comes from. */
const PROGRAMS: readonly (readonly [program: string, debianPackage: string])[] = [
  ["ip", "iproute2"],
  ["nsenter", "util-linux"],
  ["nft", "nftables"],
  ["knotd", "knot"],
  ["knotc", "knot"],
  ["unbound", "unbound"],
  ["nginx", "nginx-light"],
  ["sshd", "openssh-server"],
  ["ssh", "openssh-client"],
  ["ssh-keygen", "openssh-client"],
  ["socat", "socat"],
  ["curl", "curl"],
  ["openssl", "openssl"],
  ["dig", "bind9-dnsutils"],
  ["ping", "iputils-ping"],
  ["nc", "netcat-openbsd"],
];

/** Says in one line what is missing, or null: privilege, programs, kernel features (tried, not guessed). */
export async function missingRequirement(): Promise<string | null> {
  if (process.getuid?.() !== 0) return "the lab makes network namespaces: run it as root";
  const path = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin"];
  const absent = PROGRAMS.filter(([program]) => !path.some((folder) => existsSync(`${folder}/${program}`)));
  if (absent.length > 0) {
    const packages = [...new Set(absent.map(([, name]) => name))].join(" ");
    return `\`${absent[0]?.[0]}\` is missing: \`apt-get install --no-install-recommends ${packages}\``;
  }
  if (!existsSync("/proc/self/ns/net")) return "kernel feature `CONFIG_NET_NS` is missing: use a kernel that has it";
  return kernelFeatures();
}

/** One namespace of its own that is gone when the shell ends: it has no name. */
const TRIAL = `
ip link add name veth1 type veth peer name veth2 || { echo CONFIG_VETH; exit 0; }
ip link add name bridge1 type bridge || { echo CONFIG_BRIDGE; exit 0; }
ip -6 addr add 2001:db8::1/64 dev veth1 nodad || { echo CONFIG_IPV6; exit 0; }
nft add table inet t || { echo CONFIG_NF_TABLES; exit 0; }
nft 'table ip n { chain c { type nat hook prerouting priority -100; }; }' || { echo CONFIG_NFT_NAT; exit 0; }
nft 'table ip m { chain c { type nat hook postrouting priority 100; masquerade; }; }' || { echo CONFIG_NFT_MASQ; exit 0; }
`;

async function kernelFeatures(): Promise<string | null> {
  const result = await run(["unshare", "--net", "sh", "-s"], { input: TRIAL, timeoutMs: 5000 });
  if (result.status !== 0 && result.stderr.includes("unshare")) {
    return "this machine does not let root make network namespaces: run it outside a container, or with CAP_SYS_ADMIN";
  }
  const feature = result.stdout.trim();
  return feature === "" ? null : `kernel feature \`${feature}\` is missing: use a kernel that has it`;
}
