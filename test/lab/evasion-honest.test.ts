import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { World } from "../../examples/two-apps/world.ts";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { attack, prepare, Witness } from "../support/attacker/pod.ts";
import { hello, open, pieces, read, send, wait } from "../support/attacker/steps.ts";

/** What looks odd and is honest: it must work. */
const APP1 = "app1-ns/app1";
const APP2 = "app2-ns/app2";
const MEGABYTE = 1024 ** 2;

const SSH_BY_NAME = `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: app1-ssh }
spec:
  tier: Admin
  priority: 50
  defaultDeny: true
  subject:
    podSelector: { matchLabels: { egress-ruleset: app1 } }
    namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: app1-ns } }
  rules:
    - name: ssh
      action: Allow
      to:
        - domains: [ssh.github.com]
          ports: [{ protocol: TCP, port: 22 }]
`;

/** Reads nothing of a body for two seconds, so that its window closes; then says how much there was. */
const SLOW_SERVER = `require("node:http").createServer((request, response) => {
  setTimeout(() => {
    let count = 0;
    request.on("data", (chunk) => { count += chunk.length; });
    request.on("end", () => response.end("took " + count + "\\n"));
  }, 2000);
}).listen(20999, "0.0.0.0");`;

const SLOW_ADDRESS = `table ip slow {
  chain prerouting {
    type nat hook prerouting priority dstnat - 5
    ip daddr ${OUTSIDE.githubRaw.ipv4} tcp dport 80 redirect to :20999
  }
}\n`;

let world: World;
let witness: Witness;

beforeAll(async () => {
  world = await World.up({ name: `eo${(process.pid % 46656).toString(36)}`, nodes: 1 });
  const { lab } = world;
  const agent = world.agentOf(APP1);
  agent.forgetLog();
  writeFileSync(join(world.policies, "05-ssh.yaml"), SSH_BY_NAME);
  await agent.event("applied");
  await prepare(lab, [APP1]);
  witness = await Witness.start(lab);
  lab.spawn("outside", [process.execPath, "-e", SLOW_SERVER], { stdio: "ignore" });
  const { stderr } = await lab.exec("outside", ["nft", "-f", "-"], { input: SLOW_ADDRESS });
  expect(stderr).toBe("");
});

afterAll(async () => {
  witness?.stop();
  await world?.down();
});

const shell = async (pod: string, script: string, timeoutMs = 60_000): Promise<string> =>
  (await world.lab.exec(pod, ["bash", "-c", script], { timeoutMs })).stdout;

describe("HTTP", () => {
  test("100 requests on one connection, GET and HEAD and conditional ones", async () => {
    const tag = "tag=$(curl -sI http://api.github.com/bytes/1k | tr -d '\\r' | sed -n 's/^ETag: //p'); ";
    const options = '-s -o /dev/null -m 30 -w "%{http_code} %{num_connects}\\n"';
    const one = `${options} http://api.github.com/bytes/1k --next ${options} -I http://api.github.com/bytes/1k --next ${options} -H "If-None-Match: $tag" http://api.github.com/bytes/1k`;
    const lines = (await shell(APP1, `${tag}curl ${Array.from({ length: 34 }, () => one).join(" --next ")}`))
      .trim()
      .split("\n");
    expect(lines).toHaveLength(102);
    expect(lines.filter((line) => line.startsWith("200"))).toHaveLength(68);
    expect(lines.filter((line) => line.startsWith("304"))).toHaveLength(34);
    expect(lines.filter((line) => line.endsWith(" 1"))).toHaveLength(1);
  });

  test.each(["", '-H "Transfer-Encoding: chunked"'])(
    "an upload of 5 MB to a server that does not read %s",
    async (more) => {
      const text = await shell(
        APP1,
        `head -c ${5 * MEGABYTE} /dev/urandom | curl -4 -sS -m 40 ${more} --data-binary @- http://raw.github.com/x`,
      );
      expect(text).toBe(`took ${5 * MEGABYTE}\n`);
    },
  );

  test("HTTP/2 in TLS works, in the clear it is refused: its heads are compressed", async () => {
    const https = await shell(
      APP1,
      "curl -s -m 5 --http2 -o /dev/null -w '%{http_version} %{http_code}' https://api.github.com/",
    );
    expect(https).toBe("2 200");
    await world.lab.forgetOutside();
    const clear = await shell(
      APP1,
      "curl -s -m 5 --http2-prior-knowledge -o /dev/null -w '%{http_code}' http://api.github.com/",
    );
    expect(clear).not.toBe("200");
    expect(await world.lab.outsideLog()).toEqual([]);
  });

  test("an offer to upgrade to HTTP/2 is not taken up where requests are judged", async () => {
    expect(
      await shell(APP2, "curl -s -m 5 --http2 -o /dev/null -w '%{http_code}' http://api.weather.gov/points/1,1"),
    ).not.toBe("200");
  });
});

describe("TLS", () => {
  test("resumption of a session", async () => {
    const connect = "timeout 5 openssl s_client -connect api.github.com:443 -servername api.github.com -tls1_2";
    const text = await shell(
      APP1,
      `cd /tmp && f=$(mktemp) && for i in 1 2; do (echo Q | ${connect} -sess_out $f; echo Q | ${connect} -sess_in $f) 2>&1 | grep -c 'Verify return code: 0'; done; rm $f`,
    );
    expect(text).toBe("2\n2\n");
  });

  test.each([
    [1, 0],
    [1, 5],
    [40, 50],
    [900, 0],
  ])("a hello of 64 kB in segments of %i bytes, %i ms apart", async (size, every) => {
    const large = hello("api.github.com", { padding: size === 1 ? 200 : size === 40 ? 2_000 : 62_000 });
    await shell(APP1, "getent hosts api.github.com");
    const source = world.lab.pod(APP1).address.ipv4;
    const from = 12_000 + size + every;
    const script = {
      address: OUTSIDE.githubApi.ipv4,
      port: 443,
      from,
      source,
      steps: [open(), ...pieces(large, size, every), read(1, 5000)],
    };
    const [outcome] = await attack(world.lab, APP1, [script]);
    expect(Buffer.from(outcome!.received, "base64")[0]).toBe(22);
  });

  test("a client that says nothing for 35 s, and one that stops in the middle for 5", async () => {
    const bytes = hello("api.github.com");
    const source = world.lab.pod(APP1).address.ipv4;
    const common = { address: OUTSIDE.githubApi.ipv4, port: 443, source };
    const outcomes = await attack(world.lab, APP1, [
      { ...common, from: 14_000, steps: [open(), wait(35_000), send(0, bytes), read(1, 4000)] },
      {
        ...common,
        from: 14_001,
        steps: [open(), send(0, bytes.subarray(0, 60)), wait(5000), send(60, bytes.subarray(60)), read(1, 4000)],
      },
    ]);
    for (const { received } of outcomes) expect(Buffer.from(received, "base64")[0]).toBe(22);
  });
});

describe("a server that speaks first", () => {
  test.each(["-4", "-6"])("by an allowed name, %s", async (family) => {
    expect(await shell(APP1, `sleep 1 | timeout 4 nc ${family} -w 2 ssh.github.com 22 | head -c 7`)).toBe("SSH-2.0");
  });

  test("by its address, after its name was looked up", async () => {
    expect(
      await shell(
        APP1,
        `getent hosts ssh.github.com >/dev/null; sleep 1 | timeout 4 nc -w 2 ${OUTSIDE.githubSsh.ipv4} 22 | head -c 7`,
      ),
    ).toBe("SSH-2.0");
  });

  test("its banner does not come from an address of another name", async () => {
    expect(await shell(APP1, `sleep 1 | timeout 4 nc -w 2 ${OUTSIDE.evil.ipv4} 22 | head -c 7`)).toBe("");
    expect(await shell(APP1, "sleep 1 | timeout 4 nc -w 2 api.github.com 22 | head -c 7")).toBe("");
  });
});
