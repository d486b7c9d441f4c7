/**
 * `node traffic.ts PLAN`: a pod's traffic, until SIGTERM; then one line of JSON with what became of it. PLAN is JSON:
 * `downloads`: slow ones that are held open, and begun anew when they are complete; `probes`: new connections, `everyMs`
 * one of each. A probe is a client with patience of three seconds and three tries; the trust in certificates is not tested here.
 */
import { Resolver } from "node:dns/promises";
import { type ClientRequest, request as plain } from "node:http";
import { request as secure } from "node:https";
import type { DownloadFigures, ProbeFigures, TrafficFigures, TrafficPlan } from "./figures.ts";

const plan = JSON.parse(process.argv[2] ?? "{}") as TrafficPlan;
const PATIENCE_MS = 3_000;
const TRIES = 3;

const resolver = new Resolver({ timeout: 700, tries: 4 });
const figures: { downloads: DownloadFigures[]; probes: ProbeFigures[] } = { downloads: [], probes: [] };
let busy = true;

function call(url: URL, address: string, family: number): ClientRequest {
  const options = {
    host: address,
    family,
    port: url.port || (url.protocol === "https:" ? 443 : 80),
    path: url.pathname,
    headers: { host: url.host },
    agent: false as const,
  };
  if (url.protocol === "http:") return plain(options);
  const byName = /[a-z]/.test(url.hostname);
  return secure({ ...options, rejectUnauthorized: false, ...(byName ? { servername: url.hostname } : {}) });
}

async function addressOf(url: URL): Promise<string> {
  if (!/[a-z]/.test(url.hostname)) return url.hostname;
  const [address = ""] = await resolver.resolve4(url.hostname);
  return address;
}

/** One download to its end. `begun`: whether any byte of it came; a flow that breaks after that was an allowed one. */
async function downloadOnce(url: URL, of: DownloadFigures): Promise<void> {
  const address = await addressOf(url);
  await new Promise<void>((resolve) => {
    let begun = false;
    let last = 0;
    const sent = call(url, address, 4);
    const over = (broken: boolean) => () => {
      if (broken && begun && busy) of.broken++;
      sent.destroy();
      resolve();
    };
    sent.setTimeout(20_000, over(true));
    sent.on("error", over(true));
    sent.on("response", (response) => {
      begun = true;
      of.begun++;
      last = performance.now();
      response.on("data", (piece: Buffer) => {
        of.bytes += piece.length;
        const time = performance.now();
        of.longestSilenceMs = Math.max(of.longestSilenceMs, Math.round(time - last));
        last = time;
      });
      response.on("end", () => {
        if (response.complete) of.complete++;
        over(!response.complete)();
      });
      response.on("error", over(true));
    });
    sent.end();
  });
}

async function download(text: string): Promise<void> {
  const of: DownloadFigures = { url: text, begun: 0, complete: 0, broken: 0, bytes: 0, longestSilenceMs: 0 };
  figures.downloads.push(of);
  while (busy) {
    await downloadOnce(new URL(text), of).catch(() => undefined);
    await pause(200);
  }
}

async function tryOnce(url: URL): Promise<boolean> {
  const deadline = performance.now() + PATIENCE_MS;
  const address = await addressOf(url).catch(() => "");
  const left = deadline - performance.now();
  if (address === "" || left <= 0) return false;
  return new Promise((resolve) => {
    const sent = call(url, address, 4);
    const over = (good: boolean) => () => {
      clearTimeout(timer);
      sent.destroy();
      resolve(good);
    };
    const timer = setTimeout(over(false), left);
    sent.on("error", over(false));
    sent.on("response", (response) => {
      response.resume();
      over(response.statusCode === 200)();
    });
    sent.end();
  });
}

async function probeOnce(url: URL, of: ProbeFigures, mark: { last: number }): Promise<void> {
  of.asked++;
  const begun = performance.now();
  for (let tries = 1; tries <= TRIES; tries++) {
    of.attempts++;
    if (await tryOnce(url)) {
      const time = performance.now();
      of.ok++;
      if (tries === 1) of.okAtOnce++;
      of.times.push(Math.round(time - begun));
      of.longestGapMs = Math.max(of.longestGapMs, Math.round(time - mark.last));
      mark.last = time;
      return;
    }
    // As clients do: a fixed pause would keep step with what ends them.
    await pause(100 + Math.random() * 500);
  }
}

async function probe(text: string): Promise<void> {
  const of: ProbeFigures = { url: text, asked: 0, attempts: 0, ok: 0, okAtOnce: 0, longestGapMs: 0, times: [] };
  figures.probes.push(of);
  const mark = { last: performance.now() };
  const under = new Set<Promise<void>>();
  while (busy) {
    const one: Promise<void> = probeOnce(new URL(text), of, mark).finally(() => under.delete(one));
    under.add(one);
    await pause(plan.everyMs);
  }
  await Promise.all(under);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

for (const url of plan.downloads) void download(url);
const probes = plan.probes.map(probe);
process.once("SIGTERM", () => {
  busy = false;
  void Promise.all(probes).then(() => {
    process.stdout.write(`${JSON.stringify(figures satisfies TrafficFigures)}\n`, () => process.exit(0));
  });
});
