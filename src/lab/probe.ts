import type { Lab } from "./lab.ts";
import type { ExecResult } from "./process.ts";

/** One attempt to reach something, with a real client. */
export interface Probe {
  /** `NAMESPACE/POD`. */
  readonly from: string;
  /** As in `explain --to`. */
  readonly to: string;
  /** Sends the request for the name to this address instead of one that the name resolves to. */
  readonly ip?: string;
  readonly family?: 4 | 6;
}

export interface ProbeResult {
  /** An answer of the far end came back. */
  readonly reached: boolean;
  /** What the client saw, in a few words. */
  readonly saw: string;
  readonly milliseconds: number;
  readonly command: string;
}

const LIMIT_SECONDS = 6;
/** A name that every workload may ask for. */
const CLUSTER_NAME = "kube-dns.kube-system.svc.cluster.local";
/** Extended DNS Error 15 (RFC 8914 §4.16), as dig prints it. */
const BLOCKED = /EDE: 15[^\n]*/;

/** How the client's answer is read: null where nothing of the far end is in it. */
interface Attempt {
  readonly argv: readonly string[];
  readonly input?: string;
  readonly reached: (result: ExecResult) => boolean;
  readonly saw: (result: ExecResult) => string;
}

/** Tries it with the client that a user would take: curl, dig, ping, nc, socat. @throws Error for a URL no client is known for */
export async function tryToReach(lab: Lab, probe: Probe): Promise<ProbeResult> {
  const attempt = attemptOf(new URL(probe.to), probe);
  const options = {
    timeoutMs: (LIMIT_SECONDS + 4) * 1000,
    ...(attempt.input === undefined ? {} : { input: attempt.input }),
  };
  const result = await lab.exec(probe.from, attempt.argv, options);
  return {
    reached: attempt.reached(result),
    saw: result.timedOut ? "no answer" : attempt.saw(result),
    milliseconds: result.milliseconds,
    command: attempt.argv.join(" "),
  };
}

function attemptOf(url: URL, probe: Probe): Attempt {
  const scheme = url.protocol.slice(0, -1);
  const host = url.hostname === "" ? url.pathname.replace(/^\/+/, "") : url.hostname.replace(/^\[|\]$/g, "");
  const address = probe.ip ?? host;
  const family = probe.family === undefined ? [] : [`-${probe.family}`];
  if (scheme === "http" || scheme === "https") return curl(url, probe, family);
  if (scheme === "tcp" && url.port === "53") return askServer(["+tcp", `@${address}`, ...family]);
  if (scheme === "udp" && url.port === "53") return askServer([`@${address}`, ...family]);
  if (scheme === "dns") return digCluster(host, probe.family ?? 4);
  if (scheme === "tcp") return banner(address, url.port, family);
  if (scheme === "udp") return echo(address, url.port, probe.family);
  if (scheme === "icmp") return ping(address, family);
  throw new Error(`no client is known for \`${probe.to}\`: use http, https, tcp, udp, icmp or dns`);
}

const REFUSED_BY_GATE = "sallyport";

function curl(url: URL, probe: Probe, family: readonly string[]): Attempt {
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const ip = probe.ip?.includes(":") ? `[${probe.ip}]` : probe.ip;
  const connect = ip === undefined ? [] : ["--connect-to", `${url.host.replace(/:\d+$/, "")}:${port}:${ip}:${port}`];
  const argv = [
    "curl",
    "-sS",
    "--http1.1",
    "-m",
    String(LIMIT_SECONDS),
    ...family,
    ...connect,
    "-w",
    "\n%{http_code}",
    url.href,
  ];
  const status = (result: ExecResult): string => result.stdout.split("\n").at(-1) ?? "";
  const byGate = (result: ExecResult): boolean =>
    status(result) === "403" && result.stdout.toLowerCase().includes(REFUSED_BY_GATE);
  return {
    argv,
    reached: (result) => result.status === 0 && !byGate(result),
    saw: (result) => {
      if (byGate(result)) return "403 from Sallyport";
      return result.status === 0 ? `HTTP ${status(result)}` : curlComplaint(result.stderr);
    },
  };
}

/** Without curl's number, and without OpenSSL's. */
function curlComplaint(stderr: string): string {
  return lastLine(stderr)
    .replace(/^curl: \(\d+\) /, "")
    .replace(/^OpenSSL\S* error:\w+:SSL routines::/, "TLS: ");
}

function dig(options: readonly string[], name: string): Attempt {
  const argv = ["dig", "+tries=1", `+time=${LIMIT_SECONDS / 2}`, ...options, name, "A"];
  return {
    argv,
    reached: (result) => / status: NOERROR/.test(result.stdout),
    saw: (result) => / status: (\w+)/.exec(result.stdout)?.[1] ?? lastLine(result.stdout).replace(/^;+ ?/, ""),
  };
}

/** Any answer of its own counts, also that there is no such name: it is the server that is to be reached. */
function askServer(options: readonly string[]): Attempt {
  const asked = dig(options, CLUSTER_NAME);
  return { ...asked, reached: (result) => / status: /.test(result.stdout) && !BLOCKED.test(result.stdout) };
}

function digCluster(name: string, family: 4 | 6): Attempt {
  const plain = dig([], name);
  const argv = ["dig", "+tries=1", `+time=${LIMIT_SECONDS / 2}`, name, family === 4 ? "A" : "AAAA"];
  return {
    ...plain,
    argv,
    saw: (result) => plain.saw(result) + (BLOCKED.test(result.stdout) ? ", blocked (EDE 15)" : ""),
  };
}

/** Says something and takes whatever comes back, so servers that speak first and servers that answer both count. */
function banner(address: string, port: string, family: readonly string[]): Attempt {
  return {
    // A server that speaks first gets time to: one that hangs up on unread words resets, and its own are lost.
    argv: [
      "sh",
      "-c",
      `(sleep 0.25; printf 'hello\\r\\n\\r\\n') | timeout ${LIMIT_SECONDS} nc "$@"`,
      "nc",
      ...family,
      ...["-w", "2", address, port],
    ],
    reached: (result) => result.stdout.length > 0,
    saw: (result) =>
      result.stdout.length > 0 ? firstLine(result.stdout) : lastLine(result.stderr) || "closed without a word",
  };
}

function echo(address: string, port: string, family: 4 | 6 | undefined): Attempt {
  const target = address.includes(":") ? `[${address}]` : address;
  const kind = address.includes(":") || family === 6 ? "UDP6" : "UDP4";
  return {
    argv: ["timeout", String(LIMIT_SECONDS), "socat", "-t2", "-T2", "-", `${kind}:${target}:${port}`],
    input: "ping\n",
    reached: (result) => result.stdout.includes("ping"),
    saw: (result) =>
      result.stdout.includes("ping") ? "echo" : lastLine(result.stderr).replace(/^.*\): /, "") || "no answer",
  };
}

function ping(address: string, family: readonly string[]): Attempt {
  return {
    argv: ["ping", ...family, "-n", "-c", "1", "-W", "2", address],
    reached: (result) => result.status === 0,
    saw: (result) =>
      result.status === 0 ? "echo reply" : (/From \S+ (?:icmp_seq=\d+ )?(.*)/.exec(result.stdout)?.[1] ?? "no answer"),
  };
}

function firstLine(text: string): string {
  return (text.trim().split("\n")[0] ?? "").slice(0, 60);
}

function lastLine(text: string): string {
  return (text.trim().split("\n").at(-1) ?? "").slice(0, 100);
}
