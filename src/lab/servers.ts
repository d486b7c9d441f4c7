import { existsSync } from "node:fs";
import { mkdir, readFile, truncate, writeFile } from "node:fs/promises";
import { OUTSIDE, PORTS } from "./addresses.ts";
import { makeCertificates } from "./certificates.ts";
import { clusterResolverConfig, knotConfig, openResolverConfig, publicResolverConfig, zoneFile } from "./dns.ts";
import { DNS_POD, type Layout, podOf, WEB_POD } from "./layout.ts";
import { outsideNetns } from "./names.ts";
import { startServer, together } from "./process.ts";
import { prepareShellServers } from "./shell-server.ts";
import { insideWebConfig, outsideWebConfig } from "./web.ts";
import { outsideZones, zoneText } from "./zones.ts";

interface Server {
  readonly name: string;
  readonly netns: string;
  readonly argv: readonly string[];
  /** Ready when these are bound: protocol and port, any address. */
  readonly ports: readonly (readonly ["tcp" | "udp", number])[];
}

/** Writes every configuration file, key and certificate. Needs no network. */
export async function prepareServers(directory: string, layout: Layout): Promise<void> {
  const folders = ["log", "zones", "knot", "web/bytes", "unbound"];
  await together(folders.map((folder) => mkdir(`${directory}/${folder}`, { recursive: true, mode: 0o755 })));
  await together([
    makeCertificates(directory),
    prepareShellServers(directory),
    writeFile(`${directory}/knot.conf`, knotConfig(directory)),
    ...outsideZones().map((zone) => writeFile(zoneFile(directory, zone), zoneText(zone))),
    writeFile(`${directory}/unbound/cluster.conf`, clusterResolverConfig(directory, layout)),
    writeFile(`${directory}/unbound/public.conf`, publicResolverConfig(directory)),
    writeFile(`${directory}/unbound/open.conf`, openResolverConfig(directory)),
    writeFile(`${directory}/web/outside.conf`, outsideWebConfig(directory)),
    writeFile(`${directory}/web/inside.conf`, insideWebConfig(directory)),
    sparse(`${directory}/web/bytes/1k`, 1024),
    sparse(`${directory}/web/bytes/1m`, 1024 ** 2),
    sparse(`${directory}/web/bytes/64m`, 64 * 1024 ** 2),
  ]);
}

/** A file of zeros; it takes memory only once it is sent. */
async function sparse(path: string, size: number): Promise<void> {
  await writeFile(path, "");
  await truncate(path, size);
}

/** Starts every server and waits until each has bound its ports. @throws Error naming the server and its last words */
export async function startServers(directory: string, layout: Layout, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  const servers = serversOf(directory, layout);
  await together(
    servers.map(async (server) => {
      const log = `${directory}/log/${server.name}.log`;
      const pid = await startServer(server.netns, server.argv, log);
      await bound(server, pid, log, deadline);
    }),
  );
}

/** Every server process of a lab. */
function serversOf(directory: string, layout: Layout): readonly Server[] {
  const outside = outsideNetns(layout.name);
  const pod = (one: { namespace: string; name: string }) => podOf(layout, `${one.namespace}/${one.name}`).netns;
  const web = [...PORTS.http, ...PORTS.https].map((port) => ["tcp", port] as const);
  const dns = [["udp", 53] as const, ["tcp", 53] as const];
  const unbound = (config: string) => [...unconfined(), "unbound", "-d", "-c", `${directory}/unbound/${config}.conf`];
  const { server: echo } = PORTS.echo;
  const smtp = (family: 4 | 6, address: string): Server => ({
    name: `smtp${family}`,
    netns: outside,
    argv: ["socat", `TCP${family}-LISTEN:${PORTS.smtp},bind=${address},reuseaddr,fork`, `EXEC:sh ${directory}/smtp.sh`],
    ports: [["tcp", PORTS.smtp]],
  });
  return [
    { name: "knot", netns: outside, argv: ["knotd", "-c", `${directory}/knot.conf`], ports: dns },
    { name: "public-resolver", netns: outside, argv: unbound("public"), ports: dns },
    { name: "open-resolver", netns: outside, argv: unbound("open"), ports: [["tcp", PORTS.dnsOverTls]] },
    { name: "cluster-resolver", netns: pod(DNS_POD), argv: unbound("cluster"), ports: dns },
    { name: "web", netns: outside, argv: ["nginx", "-c", `${directory}/web/outside.conf`], ports: web },
    { name: "inside-web", netns: pod(WEB_POD), argv: ["nginx", "-c", `${directory}/web/inside.conf`], ports: web },
    {
      name: "sshd",
      netns: outside,
      argv: ["/usr/sbin/sshd", "-D", "-e", "-f", `${directory}/ssh/sshd_config`],
      ports: PORTS.ssh.map((port) => ["tcp", port] as const),
    },
    smtp(4, OUTSIDE.dnsGoogle.ipv4),
    smtp(6, `[${OUTSIDE.dnsGoogle.ipv6}]`),
    {
      name: "echo-udp",
      netns: outside,
      argv: ["socat", `UDP6-RECVFROM:${echo},ipv6only=0,reuseaddr,fork`, "PIPE"],
      ports: [["udp", echo]],
    },
    {
      name: "echo-tcp",
      netns: outside,
      argv: ["socat", `TCP6-LISTEN:${echo},ipv6only=0,reuseaddr,fork,backlog=128`, "PIPE"],
      ports: [["tcp", echo]],
    },
  ];
}

/** Debian's AppArmor profile keeps unbound away from files of ours; the kernel may or may not enforce it. */
function unconfined(): string[] {
  const enforced = existsSync("/sys/kernel/security/apparmor/policy") && existsSync("/usr/bin/aa-exec");
  return enforced ? ["aa-exec", "-p", "unconfined", "--"] : [];
}

async function bound(server: Server, pid: number, log: string, deadline: number): Promise<void> {
  for (;;) {
    if (!existsSync(`/proc/${pid}`)) throw new Error(`server \`${server.name}\` ended: ${await lastLine(log)}`);
    const states = await Promise.all(server.ports.map(([protocol, port]) => isBound(pid, protocol, port)));
    if (states.every((state) => state)) return;
    if (performance.now() > deadline) throw new Error(`server \`${server.name}\` is not ready: ${await lastLine(log)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Reads the socket tables of the process's own network namespace: no need to enter it. */
async function isBound(pid: number, protocol: "tcp" | "udp", port: number): Promise<boolean> {
  const state = protocol === "tcp" ? "0A" : "07";
  const wanted = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, "0")} [0-9A-F]+:[0-9A-F]{4} ${state} `);
  for (const family of ["", "6"]) {
    const table = await readFile(`/proc/${pid}/net/${protocol}${family}`, "utf8").catch(() => "");
    if (wanted.test(table)) return true;
  }
  return false;
}

async function lastLine(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.trim().split("\n").pop() || "it wrote nothing";
}
