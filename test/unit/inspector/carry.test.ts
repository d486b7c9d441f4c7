import { describe, expect, test } from "vitest";
import { STATE } from "../../../src/model/verdict.ts";
import { address, compileScene, policy, rule } from "../../support/cases.ts";
import { APP, APP6, GUARDED, OTHER, PLAIN, RESOLVER, SSH, scene, Transcript, WATCHED, WEB } from "./transcript.ts";

const ANYTHING = "203.0.113.77";
const MAIL = "203.0.113.25";
const QUIC = Uint8Array.of(0xc0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);

const carrying = (options = {}) => new Transcript({ carrying: true, ...options });
/** A SYN of a new connection. */
let port = 50_000;
const syn = (t: Transcript, to: string, serverPort: number, from = APP, payload = "") =>
  t.of(t.talk({ to, port: serverPort, from, sourcePort: port++ }).syn(payload));
const datagram = (t: Transcript, to: string, serverPort: number, from = APP, payload: Uint8Array | string = "x") =>
  t.of(t.udp(to, serverPort, payload, { from, sourcePort: port++ }));

describe("what the kernel may open by itself", () => {
  test("the second flow of a pair: TCP and UDP that an address rule allows", () => {
    const t = carrying();
    expect([syn(t, SSH, 22), syn(t, SSH, 22), syn(t, SSH, 22)]).toEqual(["allow", "carry", "carry"]);
    expect([datagram(t, ANYTHING, 443), datagram(t, ANYTHING, 443)]).toEqual(["allow", "carry"]);
    expect(t.records.map(({ state }) => state)).toEqual(["allowed", "allowed", "allowed", "allowed", "allowed"]);
  });

  test("a pair is a pod, an address, a protocol and a port", () => {
    const t = carrying();
    syn(t, SSH, 22);
    expect(syn(t, ANYTHING, 80)).toBe("allow");
    expect(syn(t, SSH, 22, PLAIN)).toBe("allow");
    expect(datagram(t, ANYTHING, 443)).toBe("allow");
  });

  test("what a name decides alone, where no evidence is asked for", () => {
    const t = carrying();
    t.bind("dns.example.com", WEB);
    expect([datagram(t, WEB, 5300), datagram(t, WEB, 5300)]).toEqual(["allow", "carry"]);
  });

  test("flows of a workload that nobody isolates", () => {
    const t = carrying();
    expect([syn(t, OTHER, 9, PLAIN), syn(t, OTHER, 9, PLAIN)]).toEqual(["allow", "carry"]);
  });

  test.each([
    ["what is denied", (t: Transcript) => syn(t, OTHER, 22)],
    ["what must still show a name", (t: Transcript) => syn(t, WEB, 443)],
    ["what an Audit policy must still read", (t: Transcript) => syn(t, WEB, 443, WATCHED)],
    ["what a guardrail by name must still read", (t: Transcript) => syn(t, WEB, 443, GUARDED)],
    ["QUIC", (t: Transcript) => datagram(t, ANYTHING, 443, APP, QUIC)],
    ["a SYN with data", (t: Transcript) => syn(t, SSH, 22, APP, "data")],
    ["DNS", (t: Transcript) => syn(t, RESOLVER, 53)],
    ["DNS to anybody else", (t: Transcript) => datagram(t, OTHER, 53, PLAIN)],
    [
      "a datagram of a flow that is allowed already",
      (t: Transcript) => t.of(t.udp(ANYTHING, 443, "x", { remembered: STATE.allowed })),
    ],
  ])("never %s", (_what, send) => {
    const t = carrying();
    t.bind("api.github.com", WEB);
    expect([send(t), send(t), send(t)]).not.toContain("carry");
  });

  test("never what a binding decides that ends within the life of an element", () => {
    const t = carrying();
    t.bind("dns.example.com", WEB);
    t.now += 3_600_000 - 4_000;
    expect([datagram(t, WEB, 5300), datagram(t, WEB, 5300)]).toEqual(["allow", "allow"]);
  });

  test("nothing, where nobody would be told of it", () => {
    const t = new Transcript();
    expect([syn(t, SSH, 22), syn(t, SSH, 22)]).toEqual(["allow", "allow"]);
  });

  test("256 pairs of a workload at a time; another one has its own", () => {
    const t = carrying();
    const twice = (from: string, at: number) => [syn(t, OTHER, at, from), syn(t, OTHER, at, from)][1];
    const answers = Array.from({ length: 300 }, (_, i) => twice(PLAIN, 1000 + i));
    expect(answers.filter((answer) => answer === "carry")).toHaveLength(256);
    expect([syn(t, SSH, 22), syn(t, SSH, 22)]).toEqual(["allow", "carry"]);
    t.wait(6_000);
    expect(twice(PLAIN, 9_000)).toBe("carry");
  });
});

describe("a flow that the kernel opened", () => {
  test("is recorded as if it had been asked about", () => {
    const asked = carrying();
    syn(asked, SSH, 22);
    datagram(asked, ANYTHING, 443);
    const told = carrying();
    told.opened("TCP", SSH, 22);
    told.opened("UDP", ANYTHING, 443);
    const plain = ({ tuple, ...event }: Transcript["last"]) => ({ ...event, tuple: { ...tuple, clientPort: 0 } });
    expect(told.records.map(plain)).toEqual(asked.records.map(plain));
    expect(told.ended).toEqual([]);
  });

  test("of an IPv6 address, too", () => {
    const t = carrying({
      program: compileScene({
        policies: [policy("six", [rule("six", "Allow", { cidrs: ["2001:db8::80/128"] })], { priority: 1 })],
        workloads: scene().workloads,
        config: {},
      }),
    });
    t.opened("TCP", "2001:db8::80", 22, APP6);
    expect(t.last).toMatchObject({ state: "allowed", tuple: { server: address("2001:db8::80"), serverPort: 22 } });
  });

  test("and that the policy of now denies ends", () => {
    const t = carrying();
    t.opened("TCP", OTHER, 22);
    expect(t.outcome).toBe("Deny - DefaultDeny");
    expect(t.last).toMatchObject({ state: "rejected", facts: null });
    expect(t.ended).toMatchObject([{ serverPort: 22, clientPort: 40001, protocol: 6 }]);
  });

  test("and of which more would have to be known ends, for nobody has read it", () => {
    const t = carrying();
    t.bind("api.github.com", WEB);
    t.opened("TCP", WEB, 443);
    expect(t.outcome).toBe("Deny - NoRememberedDecision");
    expect(t.ended).toHaveLength(1);
  });

  test("of a pod that is gone ends", () => {
    const t = carrying();
    t.opened("TCP", SSH, 22, "10.244.0.99");
    expect([t.records, t.ended.length]).toEqual([[], 1]);
  });

  test("whose record is cut short is nothing", () => {
    const t = carrying();
    t.inspector.opened(Uint8Array.of(0x45, 0, 0), 0, 3, t.now);
    expect([t.records, t.ended]).toEqual([[], []]);
    expect(t.inspector.counters.malformed).toBe(1);
  });
});

describe("a pod that learns a name of a carried address", () => {
  const names = policy(
    "names",
    [
      rule("no-evil", "Deny", { domains: ["evil.example.com"], ports: ["UDP 25"] }),
      rule("mail", "Allow", { cidrs: [`${MAIL}/32`] }),
    ],
    { priority: 1 },
  );
  const program = () => compileScene({ policies: [names], workloads: scene().workloads, config: {} });

  test("was not carried where the name would deny, for it had not been known", () => {
    const t = carrying({ program: program() });
    datagram(t, MAIL, 25);
    t.inspector.resolved(1, [], t.now);
    expect([datagram(t, MAIL, 25), datagram(t, MAIL, 25)]).toEqual(["allow", "allow"]);
    t.bind("good.example.com", MAIL);
    expect([datagram(t, MAIL, 25), datagram(t, MAIL, 25)]).toEqual(["allow", "allow"]);
    t.bind("evil.example.com", MAIL);
    expect(datagram(t, MAIL, 25)).toBe("reject");
  });

  test("is carried on elsewhere", () => {
    const t = carrying({ program: program() });
    expect([datagram(t, MAIL, 80), datagram(t, MAIL, 80)]).toEqual(["allow", "carry"]);
    t.bind("evil.example.com", MAIL);
    expect(datagram(t, MAIL, 80)).toBe("carry");
  });
});

test("after a flush everybody begins anew", () => {
  const t = carrying();
  syn(t, SSH, 22);
  syn(t, SSH, 22);
  expect(t.carried!.mayHold(t.now)).toBe(true);
  t.carried!.flushed();
  expect(t.carried!.mayHold(t.now)).toBe(false);
  expect(syn(t, SSH, 22)).toBe("carry");
  expect(t.carried!.mayHold(t.now + 5_999)).toBe(true);
  expect(t.carried!.mayHold(t.now + 6_000)).toBe(false);
});
