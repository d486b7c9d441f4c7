import { OUTSIDE, PORTS, SITES, type Site } from "./addresses.ts";
import { certificate, DEFAULT_ZONE, INSIDE_ZONE } from "./certificates.ts";

/** What each answer says: which virtual host and which of the server's addresses were reached, and how. */
const PROOF =
  "address=$server_addr port=$server_port sni=$ssl_server_name host=$host method=$request_method path=$uri connection=$connection request=$connection_requests";

const LOG_FIELDS: readonly (readonly [string, string])[] = [
  ["time", "$time_iso8601"],
  ["client", "$remote_addr"],
  ["site", "$server_name"],
  ["address", "$server_addr"],
  ["port", "$server_port"],
  ["sni", "$ssl_server_name"],
  ["host", "$http_host"],
  ["method", "$request_method"],
  ["target", "$request_uri"],
  ["status", "$status"],
  ["connection", "$connection"],
  ["request", "$connection_requests"],
];

export function requestLog(directory: string): string {
  return `${directory}/log/requests.jsonl`;
}

function page(site: string): string {
  return `    location / { return 200 "reached=${site} ${PROOF}\\n"; }`;
}

/**
 * Files of a known size for benchmarks, which must not fill the log, and one served at 4 KiB a second to hold a
 * connection open.
 */
function downloads(directory: string): string {
  return `    location /bytes/ { root ${directory}/web; access_log off; }
    location /slow { alias ${directory}/web/bytes/1m; limit_rate 4k; }`;
}

/** The REST API of the weather service, read-only as the real one is. */
function weatherApi(): string {
  const json = (path: string, type: string) =>
    `    location ${path} {
      default_type application/geo+json;
      if ($request_method !~ ^(GET|HEAD)$) { return 405 '{"title":"Method Not Allowed","reached":"api.weather.gov"}\\n'; }
      return 200 '{"type":"${type}","reached":"api.weather.gov","address":"$server_addr","path":"$uri"}\\n';
    }`;
  return [json("/points/", "Feature"), json("/gridpoints/", "Feature"), json("/alerts", "FeatureCollection")].join(
    "\n",
  );
}

/** Cloud metadata answers on its address alone, whatever the Host: that is what rebinding lives on. */
function metadata(): string {
  const { ipv4, ipv6 } = OUTSIDE.metadata;
  return `  server {
    listen ${ipv4}:80; listen [${ipv6}]:80;
    server_name metadata;
${page("metadata")}
  }
`;
}

function listen(more: string): string {
  const plain = PORTS.http.flatMap((port) => [`listen ${port}${more};`, `listen [::]:${port}${more};`]);
  const tls = PORTS.https.flatMap((port) => [
    `listen ${port} ssl http2${more};`,
    `listen [::]:${port} ssl http2${more};`,
  ]);
  return `    ${[...plain, ...tls].join(" ")}`;
}

function server(
  directory: string,
  names: string,
  zone: string,
  listening: string,
  locations: readonly string[],
): string {
  const { pem, key } = certificate(directory, zone);
  return `  server {
${listening}
    server_name ${names};
    ssl_certificate ${pem};
    ssl_certificate_key ${key};
${locations.join("\n")}
  }
`;
}

function frame(directory: string, name: string, log: string, servers: string): string {
  const fields = LOG_FIELDS.map(([field, variable]) => `"${field}":"${variable}"`).join(",");
  return `pid ${directory}/run-${name}.pid;
daemon off;
worker_processes auto;
error_log stderr warn;
events { worker_connections 8192; }
http {
  log_format requests escape=json '{${fields}}';
  access_log ${log} requests;
  default_type text/plain;
  server_tokens off;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 60s;
  keepalive_requests 1000000;
  server_names_hash_bucket_size 128;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_tickets off;
  client_body_temp_path ${directory}/web/tmp-${name}-body;
  proxy_temp_path ${directory}/web/tmp-${name}-proxy;
  fastcgi_temp_path ${directory}/web/tmp-${name}-fastcgi;
  uwsgi_temp_path ${directory}/web/tmp-${name}-uwsgi;
  scgi_temp_path ${directory}/web/tmp-${name}-scgi;
${servers}}
`;
}

/**
 * nginx outside: every site of `SITES` on every address, chosen by server name and Host as real shared hosting does,
 * any other name of their zones (aliases, for one), and a default site for the rest. So a test that sends an allowed name to a foreign address learns which was reached.
 */
export function outsideWebConfig(directory: string): string {
  const site = ({ name, zone }: Site) => {
    const special = name === "api.weather.gov" ? [weatherApi()] : [];
    return server(directory, name, zone, listen(""), [downloads(directory), ...special, page(name)]);
  };
  const fallback = server(directory, "default", DEFAULT_ZONE, listen(" default_server"), [
    downloads(directory),
    page("default"),
  ]);
  const zones = [...new Set(SITES.map((one) => one.zone))];
  const aliases = zones.map((zone) =>
    server(directory, `*.${zone}`, zone, listen(""), [downloads(directory), page("$host")]),
  );
  return frame(
    directory,
    "outside",
    requestLog(directory),
    [fallback, metadata(), ...SITES.map(site), ...aliases].join(""),
  );
}

/** nginx in the inside pod. */
export function insideWebConfig(directory: string): string {
  const servers = server(directory, "inside", INSIDE_ZONE, listen(" default_server"), [
    downloads(directory),
    page("inside-ns/web"),
  ]);
  return frame(directory, "inside", `${directory}/log/inside.jsonl`, servers);
}
