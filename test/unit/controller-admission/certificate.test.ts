import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { makeServingPair, type ServingPair } from "../../../src/controller/admission/certificate.ts";
import { type Der, objectIdentifier, sequence, time, unsigned } from "../../../src/controller/admission/der.ts";
import { nextServing, rotationTimes } from "../../../src/controller/admission/rotation.ts";
import {
  endOf,
  NO_SERVING,
  readServing,
  type Serving,
  writeServing,
} from "../../../src/controller/admission/serving-secret.ts";

const NAME = "sallyport-webhook.sallyport.svc";
const DAY = 86_400_000;
const NOW = Date.now();
const make = (now = NOW, life = 90 * DAY): ServingPair => makeServingPair(NAME, life, now);
const directory = mkdtempSync(join(tmpdir(), "sallyport-certificate-"));
afterAll(() => rmSync(directory, { recursive: true }));

describe("DER", () => {
  const hex = (der: Der) => der.toString("hex");

  test.each<[string, Der, string]>([
    ["a short number", unsigned(Buffer.from([0, 0, 5])), "020105"],
    ["a number whose first bit is set", unsigned(Buffer.from([0x80])), "02020080"],
    ["zero", unsigned(Buffer.from([0])), "020100"],
    ["an object identifier", objectIdentifier("1.2.840.10045.4.3.2"), "06082a8648ce3d040302"],
    ["nothing", sequence(), "3000"],
    ["a time before 2050", time(new Date("2049-12-31T23:59:59.9Z")), "170d3439313233313233353935395a"],
    ["a time after it", time(new Date("2050-01-01T00:00:00Z")), "180f32303530303130313030303030305a"],
  ])("%s", (_, der, expected) => {
    expect(hex(der)).toBe(expected);
  });

  test("lengths of one, two and three bytes", () => {
    const of = (length: number) => hex(sequence(Buffer.alloc(length) as Der)).slice(0, -2 * length);
    expect([127, 128, 255, 256, 65_536].map(of)).toEqual(["307f", "308180", "3081ff", "30820100", "3083010000"]);
  });
});

describe("a certificate", () => {
  test("holds, by the strict rules of RFC 5280, for its name and purpose, by its CA and no other", () => {
    const pair = make();
    const path = (name: string, text: string): string => {
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    };
    const verify = (ca: string, host: string): string =>
      execFileSync(
        "openssl",
        [
          "verify",
          "-x509_strict",
          "-purpose",
          "sslserver",
          "-verify_hostname",
          host,
          "-CAfile",
          ca,
          path("leaf.pem", pair.certificate),
        ],
        { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
      );
    const ca = path("ca.pem", pair.ca);
    expect(verify(ca, NAME)).toContain("OK");
    expect(() => verify(ca, "sallyport-webhook.other.svc")).toThrow();
    expect(() => verify(path("other.pem", make().ca), NAME)).toThrow();
  });

  test("ends when it is said to", () => {
    expect(endOf(make(NOW, 2 * DAY))).toBe(Math.floor((NOW + 2 * DAY) / 1000) * 1000);
  });
});

describe("the Secret", () => {
  const current = make();
  const next = make();
  const full: Serving = { current, next, trusted: [current.ca, next.ca] };

  test("gives back what was written", () => {
    expect(readServing(writeServing(full), NAME)).toEqual(full);
    expect(readServing(writeServing(NO_SERVING), NAME)).toEqual(NO_SERVING);
    expect(readServing(undefined, NAME)).toEqual(NO_SERVING);
  });

  test.each<[string, object]>([
    ["the key of another", { "tls.key": writeServing(full)["next.key"] }],
    ["the chain of another", { "tls.crt": writeServing(full)["next.crt"] }],
    ["no key", { "tls.key": null }],
    ["garbage", { "tls.crt": "AAAA" }],
    ["a certificate alone", { "tls.crt": Buffer.from(current.certificate).toString("base64") }],
    ["a text instead of bytes", { "tls.crt": 7 }],
  ])("%s: no pair", (_, change) => {
    expect(readServing({ ...writeServing(full), ...change }, NAME)).toEqual({ ...full, current: null });
  });

  test("a certificate for another name: no pair", () => {
    expect(readServing(writeServing(full), "other.svc")).toEqual({ ...full, current: null, next: null });
  });
});

describe("renewal", () => {
  const LIFE = 90 * DAY;
  const times = rotationTimes(LIFE);
  const step = (shared: Serving, now: number, steadyMs: number, served: ServingPair | null = shared.current) =>
    nextServing({ shared, served, now, steadyMs }, times, () => make(now));

  test("at every moment API servers trust what is served before and after the next step", () => {
    let shared = NO_SERVING;
    const said: string[] = [];
    let steady = 0;
    for (let now = NOW; now < NOW + 70 * DAY; ) {
      const next = step(shared, now, steady);
      if (next !== null) {
        if (shared.current !== null) {
          // Some replica still serves the one of before, some API server still has the list of before.
          expect(next.trusted).toContain(shared.current.ca);
          expect(shared.trusted).toContain(next.current?.ca);
        }
        const waited = steady < DAY ? `${steady / 1000} s` : `${Math.round(steady / DAY)} days`;
        said.push(`after ${waited}: ${next.next === null ? "" : "another is made, "}${next.trusted.length} trusted`);
        shared = next;
        steady = 0;
      }
      const pause = steady < 1_200_000 ? 30_000 : 3_600_000;
      now += pause;
      steady += pause;
    }
    expect(said).toEqual([
      "after 0 s: 1 trusted",
      "after 60 days: another is made, 2 trusted",
      "after 60 s: 2 trusted",
      "after 600 s: 1 trusted",
    ]);
  });

  test("what was taken away is served on until the next one is trusted", () => {
    const served = make();
    const next = step(NO_SERVING, NOW, 0, served);
    expect(next?.current).toBe(served);
    expect(next?.trusted).toEqual([served.ca, next?.next?.ca]);
  });

  test("what has ended is replaced at once", () => {
    const old = make(NOW - 91 * DAY, 90 * DAY);
    const next = step({ current: old, next: null, trusted: [old.ca] }, NOW, 0);
    expect(next?.current?.ca).not.toBe(old.ca);
    expect(next?.trusted).toEqual([next?.current?.ca]);
  });

  test("a list of CAs that was changed is mended", () => {
    const current = make();
    expect(step({ current, next: null, trusted: [make().ca] }, NOW, 0)?.trusted).toEqual([current.ca]);
    const next = make();
    expect(step({ current, next, trusted: [current.ca] }, NOW, DAY)?.trusted).toEqual([current.ca, next.ca]);
  });

  test("a shorter life is kept to at once", () => {
    const current = make(NOW, LIFE);
    const shorter = nextServing(
      { shared: { current, next: null, trusted: [current.ca] }, served: current, now: NOW + 61 * DAY, steadyMs: 0 },
      rotationTimes(100 * DAY),
      () => make(),
    );
    expect(shorter?.next).not.toBeNull();
  });
});
