import { once } from "node:events";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { AgentLab, appPolicy, sleep } from "../support/agent-lab.ts";

const APP = "app-ns/app";
const rule = (path: string) => `    - name: read
      action: Allow
      to: [{ domains: ["*.github.com"], ports: [{ protocol: TCP, port: 80 }], http: { methods: [GET], paths: [{ prefix: ${path} }] } }]
`;
const ALLOWED = appPolicy(rule("/"));
const NO_MORE = appPolicy(rule("/elsewhere"));

interface Said {
  readonly answers: number;
  readonly failures: number;
  readonly connections: number;
  readonly slowest: number;
}

let world: AgentLab;

beforeAll(async () => {
  world = await AgentLab.up(`akh${process.pid % 10_000}x`, {
    policies: { "app.yaml": ALLOWED },
    pods: [{ namespace: "app-ns", name: "app" }],
  });
});

afterEach(async () => {
  world.write("app.yaml", ALLOWED);
  await world.agent?.stop();
});

afterAll(() => world?.down());

/** Asks ten times a second on one connection. */
function client() {
  const child = world.script(APP, "kept-http.ts", OUTSIDE.githubGist.ipv4, "gist.github.com");
  let text = "";
  child.stdout?.on("data", (data) => {
    text += data;
  });
  return async (): Promise<Said> => {
    child.kill("SIGTERM");
    await once(child, "close");
    return JSON.parse(text) as Said;
  };
}

const requests = () => world.records().filter(({ event }) => event === "request").length;

/** Kills the agent and starts another; how many HTTP flows went on. */
async function crash(): Promise<unknown> {
  await world.agent?.kill();
  const agent = await world.start();
  return agent.event("http-recalled");
}

test("a kept connection under a path rule outlives three agents that are killed; each request is still recorded", async () => {
  await world.start();
  expect(await world.get(APP, "http://gist.github.com/")).toBe("200");
  const before = requests();
  const stop = client();
  await world.until("requests", () => requests() > before + 5);
  for (let i = 0; i < 3; i++) {
    expect(await crash()).toMatchObject({ goneOn: 1 });
    const recorded = requests();
    await world.until("requests that are recorded", () => requests() > recorded + 5);
  }
  const said = await stop();
  expect(said).toMatchObject({ failures: 0, connections: 1 });
  expect(said.answers).toBeGreaterThan(15);
});

test("it outlives a packet lane that is replaced", async () => {
  await world.start();
  expect(await world.get(APP, "http://gist.github.com/")).toBe("200");
  const before = requests();
  const stop = client();
  await world.until("requests", () => requests() > before + 5);
  world.agent?.forgetLog();
  await world.lab.configYaml(1, { dnsDenial: "Refused" });
  await world.agent?.event("lane-replaced");
  expect(await world.agent?.event("http-recalled")).toMatchObject({ goneOn: 1 });
  const recorded = requests();
  await world.until("requests that are recorded", () => requests() > recorded + 5);
  expect(await stop()).toMatchObject({ failures: 0, connections: 1 });
});

test("it ends where the rules have changed meanwhile", async () => {
  await world.start();
  expect(await world.get(APP, "http://gist.github.com/")).toBe("200");
  const before = requests();
  const stop = client();
  await world.until("requests", () => requests() > before + 5);
  await world.agent?.kill();
  world.write("app.yaml", NO_MORE);
  await world.start();
  await world.until("end by policy", () => world.records().some(({ reason }) => reason === "NoLongerAllowed"));
  await sleep(500);
  expect((await stop()).failures).toBeGreaterThan(0);
});
