import { describe, expect, test } from "vitest";
import { parseDnsMessage } from "../../../src/packet/dns.ts";
import { a, dnsMessage, query } from "../../support/dns-message.ts";
import { ascii } from "../../support/hello.ts";
import { APP, GUARDED, OBSERVED, Scene, TWIN } from "./scene.ts";

describe("the gate", () => {
  const rows: [string, number, string, "pass" | "deny", string][] = [
    ["a name that a rule could allow", APP, "api.github.com", "pass", "RuleMatched"],
    ["in any case", APP, "API.GitHub.com", "pass", "RuleMatched"],
    ["the apex is not below itself", APP, "github.com", "deny", "DefaultDeny"],
    ["a name that no rule allows", APP, "denied.example", "deny", "DefaultDeny"],
    ["a name that a rule denies", APP, "gist.github.com", "deny", "RuleMatched"],
    ["a name under the cluster domain", APP, "web.ns.svc.cluster.local", "pass", "ClusterDomain"],
    ["data in the name of a foreign zone", APP, "c2VjcmV0.tunnel.example", "deny", "DefaultDeny"],
    ["the root", APP, "", "deny", "DefaultDeny"],
    ["nobody is gated whom no policy isolates", OBSERVED, "denied.example", "pass", "NotIsolated"],
    ["a guardrail gates nobody", GUARDED, "evil.example", "pass", "NotIsolated"],
  ];
  test.each(rows)("%s", (_, workloadId, name, kind, reason) => {
    const verdict = new Scene().ask(query(name), workloadId);
    expect(verdict).toMatchObject({ kind, decision: { reason } });
  });

  test.each([1, 2, 15, 16, 28, 33, 65, 255])("any type of a permitted name passes (%i)", (type) => {
    expect(new Scene().ask(query("api.github.com", type)).kind).toBe("pass");
  });

  test("a class that the program does not know is gated", () => {
    const scene = new Scene();
    const message = query("api.github.com");
    const unknown = { ...scene, workloadId: 99 };
    expect(scene.ask(message, unknown.workloadId)).toMatchObject({
      kind: "deny",
      decision: { reason: "UnknownWorkload" },
    });
    expect(scene.ask(Uint8Array.of(1, 2, 3), unknown.workloadId).kind).toBe("malformed");
  });

  test("what Audit policies would say goes along where it differs", () => {
    const scene = new Scene();
    expect(scene.ask(query("api.weather.gov"))).toMatchObject({
      kind: "deny",
      audit: { action: "Allow", rule: "weather" },
    });
    expect(scene.ask(query("api.github.com"))).toMatchObject({ audit: null });
  });

  test("a question that is sent again while it waits is repeated", () => {
    const scene = new Scene();
    expect(scene.ask(query("api.github.com"))).toMatchObject({ repeated: false });
    expect(scene.ask(query("api.github.com"))).toMatchObject({ repeated: true });
    expect(scene.ask(query("api.github.com", 28))).toMatchObject({ repeated: false });
    scene.now += 10_001;
    expect(scene.ask(query("api.github.com"))).toMatchObject({ repeated: false });
  });
});

describe("the denial", () => {
  function denial(message: Uint8Array, options = {}, protocol = 17) {
    const verdict = new Scene(options).ask(message, APP, 40000, protocol);
    if (verdict.kind !== "deny") throw new Error("not denied");
    const parsed = parseDnsMessage(verdict.answer, 0, verdict.answer.length);
    if (parsed.kind !== "message") throw new Error("the answer is malformed");
    return { parsed, text: Buffer.from(verdict.answer).toString("latin1") };
  }

  test("is NXDOMAIN to the same question, and says who denied it", () => {
    const { parsed, text } = denial(query("gist.github.com", 28, { id: 77, edns: 1232 }));
    expect(parsed).toMatchObject({ id: 77, response: true, rcode: 3, question: { name: "gist.github.com", type: 28 } });
    expect(text).toContain("Blocked by ClusterEgressPolicy/app1 rule no-gists");
  });

  test("of the default says so", () => {
    expect(denial(query("denied.example", 1, { edns: 1232 })).text).toContain("Blocked by default deny (DefaultDeny)");
  });

  test("is REFUSED if configured", () => {
    expect(denial(query("denied.example"), { dnsDenial: "Refused" }).parsed.rcode).toBe(5);
  });

  test("has no EDNS for a client without it", () => {
    expect(denial(query("denied.example")).parsed.edns).toBeNull();
  });

  test("works over TCP", () => {
    expect(denial(query("denied.example", 1, { edns: 512 }), {}, 6).parsed.rcode).toBe(3);
  });
});

describe("what is not one plain question", () => {
  const name = "api.github.com";
  const asked = { name, type: 1 };
  const opcode = query(name);
  opcode[2] = 0x28;
  const rows: [string, Uint8Array, string, number | null][] = [
    ["no bytes", new Uint8Array(0), "NoMessage", null],
    ["a header cut short", query(name).slice(0, 11), "NoMessage", null],
    ["a question cut short", query(name).slice(0, -3), "NoMessage", 1],
    ["bytes behind the message", Uint8Array.from([...query(name), 1]), "NoMessage", 1],
    [
      "a name that points at itself",
      dnsMessage({ questions: [{ name: Uint8Array.of(0xc0, 12), type: 1 }] }),
      "NoMessage",
      1,
    ],
    ["no question", dnsMessage({}), "QuestionCount", 1],
    ["two questions", dnsMessage({ questions: [asked, { name: "denied.example", type: 1 }] }), "QuestionCount", 1],
    ["class CH", dnsMessage({ questions: [{ ...asked, class: 3 }] }), "Class", 1],
    ["opcode UPDATE", opcode, "Opcode", 1],
    ["an answer sent by the client", dnsMessage({ response: true, questions: [asked] }), "Answer", null],
    [
      "an answer inside the question",
      dnsMessage({ questions: [asked], answers: [a(name, "192.0.2.1")] }),
      "Records",
      1,
    ],
    [
      "records smuggled behind it",
      dnsMessage({ questions: [asked], additional: [a("x.example", "192.0.2.1")] }),
      "Records",
      1,
    ],
    ["a dot inside a label", query(Uint8Array.of(7, ...ascii("api.git"), 3, ...ascii("com"), 0)), "NameText", 3],
    [
      "a NUL inside a label",
      query(Uint8Array.of(3, 0x61, 0, 0x62, 6, ...ascii("github"), 3, ...ascii("com"), 0)),
      "NameText",
      3,
    ],
  ];
  test.each(rows)("%s", (_, message, problem, rcode) => {
    const verdict = new Scene().ask(message);
    expect(verdict).toMatchObject({ kind: "malformed", problem });
    const answer = (verdict as { answer: Uint8Array | null }).answer;
    expect(answer === null ? null : answer[3]! & 15).toBe(rcode);
    if (answer !== null) expect([answer[0], answer[1], answer[2]! & 0x80]).toEqual([message[0], message[1], 0x80]);
    expect(new Scene().ask(message, OBSERVED).kind).toBe("pass");
  });
});

describe("names that a search list made", () => {
  const silent = (scene: Scene, name: string, workloadId = APP) => {
    const verdict = scene.ask(query(name), workloadId);
    return verdict.kind === "deny" ? verdict.silent : null;
  };

  test("musl and glibc with ndots:5: the cluster's suffixes, then the node's, then the name", () => {
    const scene = new Scene();
    for (const suffix of ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local"]) {
      expect(silent(scene, `api.github.com.${suffix}`)).toBeNull();
    }
    expect(silent(scene, "api.github.com.corp.example")).toBe(true);
  });

  test("a name that someone meant is no such name", () => {
    const scene = new Scene();
    expect(silent(scene, "denied.example")).toBe(false);
    expect(silent(scene, "other.example")).toBe(false);
  });

  test("ndots:1: the name first, then the list", () => {
    const scene = new Scene();
    expect(silent(scene, "denied.example")).toBe(false);
    silent(scene, "denied.example.cluster.local");
    expect(silent(scene, "denied.example.corp.example")).toBe(true);
  });

  test("what another workload asked excuses nothing", () => {
    const scene = new Scene();
    silent(scene, "api.github.com.cluster.local", TWIN);
    expect(silent(scene, "api.github.com.corp.example")).toBe(false);
  });

  test("two seconds later it excuses nothing", () => {
    const scene = new Scene();
    silent(scene, "api.github.com.cluster.local");
    scene.now += 2_000;
    expect(silent(scene, "api.github.com.corp.example")).toBe(false);
  });

  test("one stem does not hide a flood", () => {
    const scene = new Scene();
    silent(scene, "a.cluster.local");
    const hidden = Array.from({ length: 50 }, (_, i) => silent(scene, `a.x${i}.tunnel.example`)).filter((is) => is);
    expect(hidden.length).toBeLessThanOrEqual(8);
  });

  test("a suffix that is configured", () => {
    const scene = new Scene({ searchSuffixes: ["corp.example"] });
    expect(silent(scene, "api.github.com.corp.example")).toBe(true);
    expect(silent(scene, "corp.example")).toBe(false);
    expect(silent(scene, "notcorp.example")).toBe(false);
  });
});
