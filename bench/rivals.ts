/**
 * The proxies that Sallyport is measured against, put to the same task: a transparent gate on the node. The pod's client is
 * the same for all and knows of none: the node redirects its connections to the proxy whose turn it is. Each proxy is set up as its own
 * documentation advises for speed (as many workers as cores, keep-alive to the upstream, no DNS at run time) and
 * writes its access log, for a gate without a record of what passed is none.
 */
import { readFileSync } from "node:fs";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { OUTSIDE, POOL } from "../src/lab/addresses.ts";
import { certificate } from "../src/lab/certificates.ts";
import type { Lab } from "../src/lab/lab.ts";
import { loadRules } from "../src/lab/network.ts";
import { must, startServer } from "../src/lab/process.ts";

/** Ports on the node. */
export const RIVAL_PORTS = {
  nginx: { tls: 7443, bulk: 7444, http: 7080 },
  haproxy: { tls: 6443, bulk: 6444, http: 6080 },
  squid: { tls: 3130, bulk: 3130, http: 3129 },
} as const;
export type Rival = keyof typeof RIVAL_PORTS;

const TABLE = "rival";
const cores = availableParallelism();
const upstreams = (port: number) => POOL.map(({ ipv4 }) => `${ipv4}:${port}`);

function nginxConfig(directory: string): string {
  const { tls, bulk, http } = RIVAL_PORTS.nginx;
  const servers = (port: number) =>
    upstreams(port)
      .map((server) => `server ${server};`)
      .join(" ");
  const preread = (name: string, listen: number, port: number) => `
  upstream ${name} { ${servers(port)} }
  map $ssl_preread_server_name $${name}_to { hostnames; *.github.com ${name}; default 127.0.0.1:9; }
  server { listen ${listen} backlog=4096; ssl_preread on; proxy_pass $${name}_to; }`;
  return `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root;
daemon off;
worker_processes ${cores};
worker_rlimit_nofile 65536;
pid ${directory}/rival-nginx.pid;
error_log stderr crit;
events { worker_connections 16384; }
stream {
  log_format gate '$time_iso8601 $remote_addr $ssl_preread_server_name $upstream_addr $status $bytes_sent $bytes_received $session_time';
  access_log ${directory}/log/rival-nginx-stream.access gate buffer=64k flush=1s;${preread("tls", tls, 443)}${preread("bulk", bulk, 8443)}
}
http {
  access_log ${directory}/log/rival-nginx-http.access combined buffer=64k flush=1s;
  keepalive_requests 1000000000;
  upstream web { ${servers(80)} keepalive 256; keepalive_requests 1000000000; }
  server {
    listen ${http} backlog=4096;
    location / { return 403; }
    location /v1/ { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
  }
}
`;
}

function haproxyConfig(): string {
  const { tls, bulk, http } = RIVAL_PORTS.haproxy;
  const servers = (port: number) =>
    upstreams(port)
      .map((server, at) => `  server s${at} ${server}`)
      .join("\n");
  const sni = (name: string, listen: number, port: number) => `
frontend ${name}_in
  mode tcp
  option tcplog
  bind :${listen} backlog 4096
  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_sni -m end .github.com }
  tcp-request content reject if { req.ssl_hello_type 1 }
  default_backend ${name}
backend ${name}
  mode tcp
${servers(port)}`;
  // maxconn stays below a third of the file limit: a connection takes two descriptors, spliced ones two pipes more.
  return `global
  nbthread ${cores}
  maxconn 4000
  log stdout format raw local0
defaults
  log global
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option splice-auto
${sni("tls", tls, 443)}${sni("bulk", bulk, 8443)}
frontend web_in
  mode http
  option httplog
  bind :${http} backlog 4096
  http-request deny unless { path_beg /v1/ }
  default_backend web
backend web
  mode http
  http-reuse always
${servers(80)}
`;
}

function squidConfig(lab: Lab): string {
  const { directory } = lab;
  const { tls, http } = RIVAL_PORTS.squid;
  return `workers ${cores}
pid_filename ${directory}/squid/squid.pid
cache_effective_user proxy
cache_log ${directory}/squid/cache.log
access_log stdio:${directory}/squid/access.log
buffered_logs on
cache_store_log none
netdb_filename none
coredump_dir none
pinger_enable off
shutdown_lifetime 0 seconds
cache deny all
memory_cache_shared off
cache_mem 8 MB
via off
forwarded_for delete
hosts_file none
positive_dns_ttl 1 hours
negative_dns_ttl 1 second
dns_nameservers ${OUTSIDE.dnsGoogle.ipv4}
max_filedescriptors 65536
http_port 3128
http_port ${http} intercept
https_port ${tls} intercept ssl-bump tls-cert=${directory}/squid/cert.pem tls-key=${directory}/squid/key.pem generate-host-certificates=off
acl step1 at_step SslBump1
acl allowed_name ssl::server_name .github.com
acl allowed_path urlpath_regex ^/v1/
acl connect method CONNECT
ssl_bump peek step1
ssl_bump splice allowed_name
ssl_bump terminate all
http_access allow connect
http_access allow allowed_path
http_access deny all
`;
}

/** Squid refuses to run as root: it gets a folder of its own, and the one in which its workers talk to each other. */
async function prepareSquid({ directory }: Lab): Promise<void> {
  const { pem, key } = certificate(directory, "github.com");
  const folder = `${directory}/squid`;
  await mkdir(folder);
  await copyFile(pem, `${folder}/cert.pem`);
  await copyFile(key, `${folder}/key.pem`);
  await must(["install", "-d", "-o", "proxy", "-g", "proxy", "/run/squid"]);
  await must(["chown", "-R", "proxy:proxy", folder]);
}

/** Starts all three on the first node of a lab. They end with the lab. */
export async function startRivals(lab: Lab): Promise<void> {
  const { directory } = lab;
  const { netns } = lab.node(1);
  const file = (name: string) => `${directory}/rival-${name}`;
  await writeFile(file("nginx.conf"), nginxConfig(directory));
  await writeFile(file("haproxy.conf"), haproxyConfig());
  await writeFile(file("squid.conf"), squidConfig(lab));
  await prepareSquid(lab);
  await startServer(netns, ["nginx", "-c", file("nginx.conf")], `${directory}/log/rival-nginx.log`);
  await startServer(netns, ["haproxy", "-db", "-f", file("haproxy.conf")], `${directory}/log/rival-haproxy.log`);
  await startServer(netns, ["squid", "--foreground", "-f", file("squid.conf")], `${directory}/log/rival-squid.log`);
}

/** From now on the node hands what pods send to these ports to this proxy; null: to nobody, and no table is left. */
export async function redirectTo(lab: Lab, rival: Rival | null): Promise<void> {
  const { netns } = lab.node(1);
  const none = `add table ip ${TABLE}\ndelete table ip ${TABLE}\n`;
  if (rival === null) return loadRules(netns, none);
  const { tls, bulk, http } = RIVAL_PORTS[rival];
  await loadRules(
    netns,
    `${none}table ip ${TABLE} {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    tcp dport 443 redirect to :${tls}
    tcp dport 8443 redirect to :${bulk}
    tcp dport 80 redirect to :${http}
  }
}
`,
  );
}

/** The versions, as the programs say them. */
export async function rivalVersions(): Promise<Readonly<Record<string, string>>> {
  const nginx = await must(["sh", "-c", "nginx -v 2>&1"]);
  const haproxy = await must(["haproxy", "-v"]);
  const squid = await must(["squid", "-v"]);
  const number = (text: string) => /\d+\.\d+(\.\d+)?/.exec(text)?.[0] ?? "?";
  return {
    nginx: number(nginx),
    haproxy: number(haproxy),
    squid: number(squid),
    node: process.version,
    kernel: readFileSync("/proc/sys/kernel/osrelease", "utf8").trim(),
  };
}
