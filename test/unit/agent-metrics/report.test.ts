import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Exposition, FAMILIES, wantsOpenMetrics } from "../../../src/agent/metrics/exposition.ts";
import { Problems } from "../../../src/agent/metrics/problems.ts";
import { whyNotReady, whyUnhealthy } from "../../../src/agent/metrics/readiness.ts";
import { statusReport } from "../../../src/agent/metrics/status-report.ts";
import { statusText } from "../../../src/cli/status-text.ts";
import { metric, parseOpenMetrics } from "../../support/open-metrics.ts";
import { type Changes, numbersOf } from "./numbers-of.ts";

const GUIDE = join(import.meta.dirname, "../../../docs/guide/metrics.md");
const OPEN = "application/openmetrics-text; version=1.0.0";

function sourceOf(changes: Changes = {}) {
  const problems = new Problems();
  problems.add("error", "lane-replaced", "no pulse");
  return { numbers: numbersOf(changes), problems, version: "1.2.3" };
}

describe("metrics", () => {
  const exposition = new Exposition();

  test("are OpenMetrics, with every family that has numbers", async () => {
    const { text } = await exposition.render(sourceOf(), OPEN);
    const families = parseOpenMetrics(text);
    for (const { name, type } of FAMILIES) {
      expect(families.get(name.replace(/_total$/, "")), name).toMatchObject({ type });
      expect(name.endsWith("_total"), name).toBe(type === "counter");
    }
    expect(metric(families, "sallyport_verdict_seconds_bucket", { le: "0.0001" })).toBe(10);
    expect(metric(families, "sallyport_verdict_seconds_bucket", { le: "0.00005" })).toBe(0);
    expect(metric(families, "sallyport_verdict_seconds_sum")).toBeCloseTo(0.0007);
    expect(metric(families, "sallyport_records_lost_total", { where: "log" })).toBe(8);
    expect(metric(families, "sallyport_rules_packets_total", { counter: "spoofed" })).toBe(14);
  });

  test("of an API server are told where there is one", async () => {
    const { text } = await exposition.render(sourceOf(), OPEN);
    const families = parseOpenMetrics(text);
    expect(metric(families, "sallyport_watch_up", { resource: "pods" })).toBe(1);
    expect(metric(families, "sallyport_watch_up", { resource: "egresspolicies" })).toBe(0);
    expect(metric(families, "sallyport_watch_refused_total", { resource: "pods" })).toBe(29);
    expect(metric(families, "sallyport_api_last_contact_timestamp_seconds")).toBe(1_767_225_600);
    expect(metric(families, "sallyport_objects_refused")).toBe(1);
    expect(metric(families, "sallyport_pods", { state: "not_enforced" })).toBe(1);
    expect(metric(families, "sallyport_pods_not_enforced", { reason: "NotRoutedByNode" })).toBe(1);
    const { text: without } = await exposition.render(sourceOf({ cluster: null }), OPEN);
    expect(without).not.toMatch(/^sallyport_(watch|api|objects|pods)[_{ ]/m);
  });

  test("keep their names in the older format, also after OpenMetrics and side by side", async () => {
    const first = await exposition.render(sourceOf(), "text/plain");
    const [, second] = await Promise.all([exposition.render(sourceOf(), OPEN), exposition.render(sourceOf(), "")]);
    const names = (text: string) => text.match(/^# TYPE \S+/gm);
    expect(names(second.text)).toEqual(names(first.text));
    expect(second.text).toContain("# TYPE process_cpu_seconds_total counter");
    expect(second.text).toMatch(/^sallyport_packets_total 1$/m);
  });

  test("a policy's name is text, whatever is in it", async () => {
    const policy = 'EgressPolicy/a/b"} 1\nx{y="\\';
    const { text } = await exposition.render(sourceOf({ policy }), OPEN);
    expect(metric(parseOpenMetrics(text), "sallyport_decisions_total", { policy })).toBe(2);
  });

  test("every one stands in the guide, with its type", () => {
    const guide = readFileSync(GUIDE, "utf8");
    for (const { name, type } of FAMILIES) expect(guide).toContain(`| \`${name}\` | ${type} |`);
    for (const name of exposition.names) expect(guide).toContain(`\`${name}\``);
    const documented = [...guide.matchAll(/^\| `(sallyport_[a-z0-9_]+)`/gm)].map(([, name]) => name);
    expect(documented.sort()).toEqual(FAMILIES.map(({ name }) => name).sort());
  });

  test.each([
    ["", false],
    ["*/*", false],
    ["application/openmetrics-text", true],
    ["application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.5", true],
    ["text/plain;q=0.9, Application/OpenMetrics-Text; version=1.0.0", true],
    ["application/openmetrics-text;version=2.0.0", false],
    ["application/openmetrics-text;q=0", false],
  ])("Accept `%s`: OpenMetrics %s", (accept, expected) => expect(wantsOpenMetrics(accept)).toBe(expected));
});

describe("readiness", () => {
  const rows: readonly (readonly [Changes, string | null])[] = [
    [{}, null],
    [{ phase: "starting" }, "starting"],
    [{ phase: "stopping" }, "stopping"],
    [{ alive: false }, "does not beat"],
    [{ listening: false }, "nobody listens to NFQUEUE `5100`"],
    [{ rulesInPlace: false }, "not in place"],
    [{ rulesInPlace: null }, "cannot be told in time"],
    [{ applyFailure: "nft said\n  no" }, "could not be applied: nft said; no"],
    [{ adopted: 2 }, "decides by epoch 2, not yet by 3"],
    [{ adopted: 2, applyingSeconds: 0.1 }, null],
    [{ adopted: 2, applyingSeconds: 6 }, "not enforced after 6 s"],
  ];
  test.each(rows)("%j: %s", (changes, why) => {
    const said = whyNotReady(numbersOf(changes));
    if (why === null) expect(said).toBeNull();
    else expect(said).toContain(why);
    expect(said ?? "").not.toContain("\n");
  });

  test("only a lane that stands still is unhealthy", () => {
    for (const [changes] of rows) expect(whyUnhealthy(numbersOf(changes)) === null).toBe(changes.alive !== false);
  });
});

describe("the page of `sallyport status`", () => {
  const page = (changes: Changes = {}): string => {
    const { numbers, problems, version } = sourceOf(changes);
    return statusText(statusReport(numbers, problems, version, numbers.laneNumbers.verdictTimes()));
  };

  test("begins with what matters", () => {
    expect(page({ cluster: null })).toMatch(/^ready: everything is enforced\n/);
    expect(page()).toMatch(/^ready: everything is enforced, but 1 pod is NOT HELD\n/);
    expect(page({ rulesInPlace: false })).toMatch(/^NOT READY: the rules of table/);
    expect(page()).toContain("6: 3 isolated, 2 restricted, 1 observed");
    expect(page()).toContain("p50 75 µs, p99 100 µs");
    expect(page()).toContain("error lane-replaced: no pulse");
  });

  test("control characters do nothing", () => {
    expect(page({ policy: "EgressPolicy/a/\u001b[2Jb" })).not.toContain("\u001b");
    expect(page({ applyFailure: "\u001b]0;x\u0007" })).not.toContain("\u001b");
  });
});

describe("the API server in the status", () => {
  const page = (changes: Changes = {}) => {
    const { numbers, problems, version } = sourceOf(changes);
    return statusText(statusReport(numbers, problems, version, new Float64Array(0)));
  };

  test("is said with what is in force only from memory, what is in trouble, and what was refused", () => {
    const text = page();
    expect(text).toContain("catching-up, https://192.0.2.1:6443, last heard 2026-01-01T00:00:00.000Z");
    expect(text).toContain("ENFORCED FROM MEMORY of 2025-12-31T00:00:00.000Z");
    expect(text).toContain("egresspolicies: HTTP 403: no");
    expect(text).toContain("EgressPolicy a/b (what of it is understood is in force, and opens nothing): spec.x: what?");
  });

  test("names the pods that are not held", () => {
    expect(page()).toContain("33: 30 cross the rules, 2 not known yet, 1 not enforced");
    expect(page()).toContain("a/lan (NotRoutedByNode): by `eth0`");
    expect(page()).toContain("4 pods are not held before they are known: set `podInterfaces`");
  });

  test("is left out where there is none", () => {
    expect(page({ cluster: null })).not.toContain("API server");
  });
});
