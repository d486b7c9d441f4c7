import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { World } from "../../examples/two-apps/world.ts";

/** Honest traffic on a bad network: what works without the gate works through it. */
const APP1 = "app1-ns/app1";
const APP2 = "app2-ns/app2";

/** Every twentieth packet is lost, in each direction. */
const LOSSES = `table inet losses {
  chain in { type filter hook prerouting priority -320; iifname "eth0" meta l4proto tcp numgen random mod 20 == 0 drop; }
  chain out { type filter hook output priority -320; oifname "eth0" meta l4proto tcp numgen random mod 20 == 0 drop; }
}\n`;

let world: World;

beforeAll(async () => {
  world = await World.up({ name: `ep${(process.pid % 46656).toString(36)}`, nodes: 1 });
  const { status, stderr } = await world.lab.exec("outside", ["nft", "-f", "-"], { input: LOSSES });
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

afterAll(async () => {
  await world?.down();
});

/** `count` downloads, `parallel` at a time; how many brought every byte. */
async function downloads(url: string, count: number, parallel: number, size: number): Promise<number> {
  const script = `seq ${count} | xargs -P ${parallel} -I{} sh -c 'curl -sS -m 60 ${url} | md5sum'`;
  const { stdout } = await world.lab.exec(APP1, ["sh", "-c", script], { timeoutMs: 100_000 });
  const expected = await world.lab.exec("outside", ["sh", "-c", `head -c ${size} /dev/zero | md5sum`]);
  return stdout.split("\n").filter((line) => line !== "" && line === expected.stdout.trim()).length;
}

describe("with one packet in twenty lost each way", () => {
  test("200 HTTPS downloads of 1 MB", async () => {
    expect(await downloads("https://api.github.com/bytes/1m", 200, 8, 1024 ** 2)).toBe(200);
  });

  test("60 plain HTTP downloads of 1 MB", async () => {
    expect(await downloads("http://api.github.com/bytes/1m", 60, 8, 1024 ** 2)).toBe(60);
  });

  test("200 requests on one kept connection", async () => {
    const urls = Array.from({ length: 200 }, (_, index) => `http://api.weather.gov/points/${index},1`);
    const argv = [
      "curl",
      "-sS",
      "-m",
      "90",
      ...urls.flatMap((url) => ["-o", "/dev/null", url]),
      "-w",
      "%{http_code} %{num_connects}\\n",
    ];
    const { stdout } = await world.lab.exec(APP2, argv, { timeoutMs: 100_000 });
    const lines = stdout.trim().split("\n");
    expect(lines.filter((line) => line.startsWith("200"))).toHaveLength(200);
    expect(lines.filter((line) => line.endsWith(" 1"))).toHaveLength(1);
  });

  test("100 uploads of 200 kB, sized and chunked", async () => {
    const upload = (more: string) =>
      `seq 50 | xargs -P 8 -I{} sh -c 'head -c 200000 /dev/zero | tr "\\0" a | curl -sS -m 60 -o /dev/null -w "%{http_code}\\n" ${more} --data-binary @- http://api.github.com/upload'`;
    for (const more of ["", '-H "Transfer-Encoding: chunked"']) {
      const { stdout } = await world.lab.exec(APP1, ["sh", "-c", upload(more)], { timeoutMs: 100_000 });
      expect(stdout.split("\n").filter((line) => line === "200")).toHaveLength(50);
    }
  });

  test("a download of 64 MB", async () => {
    expect(await downloads("http://api.github.com/bytes/64m", 1, 1, 64 * 1024 ** 2)).toBe(1);
  });
});
