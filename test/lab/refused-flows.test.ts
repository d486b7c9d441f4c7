import { afterAll, beforeAll, expect, test } from "vitest";
import { AgentLab, appPolicy, sleep } from "../support/agent-lab.ts";
import { APP, EVIL, PARTNER } from "../support/fault-lab.ts";

const rule = (name: string, address: string, family: 4 | 6) =>
  `    - { name: ${name}, action: Allow, to: [{ cidrs: ["${address}/${family === 4 ? 32 : 128}"], ports: [{ protocol: UDP, port: 9000 }] }] }\n`;

const ALLOWED = rule("partner", PARTNER, 4);
const NONE = rule("other", EVIL.ipv6, 6);
const SOON = { timeout: 10_000, interval: 0 };

let world: AgentLab;

beforeAll(async () => {
  world = await AgentLab.up(`ref${process.pid % 10_000}`, {
    policies: { "app.yaml": appPolicy(ALLOWED) },
    pods: [{ namespace: "app-ns", name: "app" }],
  });
  await world.start();
});

afterAll(() => world?.down());

/** Datagrams from one port of the pod to the partner, five a second, for as long as the test runs. */
const TALKER = `
const socket = require("node:dgram").createSocket("udp4");
let answered = 0;
socket.on("error", () => undefined).on("message", () => answered++).bind(23456);
setInterval(() => socket.send("x", 9000, "${PARTNER}", () => undefined), 200);
setInterval(() => console.log(answered), 100);
setTimeout(() => process.exit(0), 60_000);`;

test("a policy is taken back: a socket that was cut off is heard again, though it never falls silent", async () => {
  const talker = world.lab.spawn(APP, [process.execPath, "-e", TALKER], { stdio: ["ignore", "pipe", "inherit"] });
  let answered = 0;
  talker.stdout!.on("data", (text: Buffer) => {
    answered = Number(text.toString().trim().split("\n").at(-1));
  });
  const goesOn = async () => {
    const before = answered;
    await sleep(1_500);
    return answered - before > 3;
  };
  const asked = () => world.records().filter(({ event }) => event === "decision").length;
  const apply = (rules: string) => world.applied(() => world.write("app.yaml", appPolicy(rules)));
  try {
    await expect.poll(goesOn, SOON).toBe(true);
    await apply(NONE);
    await expect.poll(goesOn, SOON).toBe(false);
    const before = asked();
    await apply(rule("another", EVIL.ipv6, 6));
    expect([await goesOn(), asked()]).toEqual([false, before]);
    await apply(ALLOWED);
    await expect.poll(goesOn, SOON).toBe(true);
  } finally {
    talker.kill("SIGKILL");
  }
});
