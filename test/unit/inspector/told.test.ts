import { describe, expect, test } from "vitest";
import { STATE } from "../../../src/model/verdict.ts";
import { compileScene, policy, rule } from "../../support/cases.ts";
import { clientHello, concat, record } from "../../support/hello.ts";
import { APP, GUARDED, LINUX_SYN, OTHER, PLAIN, SSH, scene, Transcript, WATCHED, WEB } from "./transcript.ts";

const hello = clientHello({ names: ["api.github.com"] });
const evil = clientHello({ names: ["evil.example.com"] });
const serverHello = record(22, concat([2, 0, 0, 38, 3, 3], new Array<number>(32).fill(9), [0, 0x13, 1, 0]), 0x0303);

function telling(options: ConstructorParameters<typeof Transcript>[0] = {}): Transcript {
  const t = new Transcript({ carrying: true, ...options });
  t.bind("api.github.com", WEB);
  return t;
}

let port = 52_000;
/** In a turn of its own. */
const syn = (t: Transcript, to: string, serverPort: number, from = APP, payload = "") => {
  t.wait(1);
  return t.of(t.talk({ to, port: serverPort, from, sourcePort: port++ }).syn(payload));
};

/** Its SYN has gone by unasked, the lane was told. */
function told(t: Transcript, options: Parameters<Transcript["talk"]>[0] = {}) {
  const talk = t.talk({ sourcePort: port++, ...options });
  talk.toldSyn();
  return talk;
}

describe("which SYNs may go on unasked", () => {
  test("the next ones of a pod to an address and port to which two went on undecided", () => {
    const t = telling();
    expect([syn(t, WEB, 443), syn(t, WEB, 443), syn(t, WEB, 443)]).toEqual(["look", "tell", "tell"]);
    expect(syn(t, WEB, 80)).toBe("look");
    expect(syn(t, WEB, 8443)).toBe("look");
  });

  test.each([
    ["what its address decides", (t: Transcript) => syn(t, SSH, 22)],
    ["what is denied", (t: Transcript) => syn(t, OTHER, 22)],
    ["what Audit only watches", (t: Transcript) => syn(t, WEB, 443, WATCHED)],
    ["of a pod that nobody isolates", (t: Transcript) => syn(t, WEB, 443, GUARDED)],
    ["of a pod that no policy selects", (t: Transcript) => syn(t, WEB, 443, PLAIN)],
    ["with data", (t: Transcript) => syn(t, WEB, 443, APP, "data")],
    [
      "whose options had to be changed",
      (t: Transcript) =>
        t.of(
          t
            .talk({ sourcePort: port++ })
            .client("", { at: -1, flags: 2, ack: 0, options: Uint8Array.of(2, 4, 5, 180, 254, 4, 1, 1) }),
        ),
    ],
    [
      "after another one of its ports",
      (t: Transcript) => {
        t.talk({ sourcePort: 51_999, isn: port }).syn();
        return t.of(t.talk({ sourcePort: 51_999, isn: port++ + 1_000_000 }).syn());
      },
    ],
  ])("never %s", (_what, send) => {
    const t = telling();
    expect([send(t), send(t), send(t)]).not.toContain("tell");
  });

  test("none for a moment after two have come in one turn", () => {
    const t = telling();
    const together = () => t.of(t.talk({ sourcePort: port++ }).syn());
    t.wait(1);
    expect([together(), together(), together()]).toEqual(["look", "look", "look"]);
    t.wait(90);
    expect(together()).toBe("look");
    t.wait(20);
    expect(together()).toBe("tell");
    t.wait(1);
    told(t);
    told(t);
    expect(syn(t, WEB, 443)).toBe("look");
  });

  test("none while conntrack takes segments with any number", () => {
    const t = telling();
    t.inspector.looseWindows = true;
    expect([syn(t, WEB, 443), syn(t, WEB, 443)]).toEqual(["confirm", "confirm"]);
  });

  test("none while the agent before this one listens", () => {
    const t = telling();
    t.inspector.beside = true;
    expect([syn(t, WEB, 443), syn(t, WEB, 443)]).toEqual(["look", "look"]);
    t.inspector.beside = false;
    expect([syn(t, WEB, 443), syn(t, WEB, 443)]).toEqual(["look", "tell"]);
  });

  test("none where nobody would be told of it", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    expect([syn(t, WEB, 443), syn(t, WEB, 443)]).toEqual(["look", "look"]);
  });

  test("below half of the undecided flows that a workload may have", () => {
    const t = telling({ limits: { lookingFlows: 8 } });
    const answers = Array.from({ length: 9 }, () => syn(t, WEB, 443));
    expect(answers).toEqual(["look", "tell", "tell", "look", "look", "look", "look", "look", "reject"]);
  });
});

describe("a connection whose SYN went by unasked", () => {
  test("is decided on its hello, and handed over with the server's first record", () => {
    const t = telling();
    const talk = told(t);
    expect(t.inspector.flows).toBe(1);
    expect(t.of(talk.client(hello))).toBe("pass");
    expect(t.outcome).toBe("Allow github RuleMatched");
    expect(t.of(talk.acknowledge(hello.length, serverHello))).toBe("allow");
    expect(t.inspector.flows).toBe(0);
  });

  test("is refused on its hello", () => {
    const t = telling();
    const talk = told(t);
    expect(t.of(talk.client(evil))).toBe("cut");
    expect(t.said("server")).toEqual([`RST ${talk.isn + 1}`]);
  });

  test("its first segment may come last", () => {
    const t = telling();
    const talk = told(t);
    const second = talk.client(hello.subarray(60), { at: 60 });
    expect(t.of(second)).toBe("held");
    const first = talk.client(hello.subarray(0, 60), { at: 0 });
    expect([t.of(first), t.of(second)]).toEqual(["pass", "pass"]);
    expect(t.outcome).toBe("Allow github RuleMatched");
  });

  test("what lies before the SYN's number is dropped, whatever it says", () => {
    const t = telling();
    const talk = told(t);
    expect(t.of(talk.client(concat(hello, evil), { at: -hello.length }))).toBe("drop");
    expect(t.of(talk.client(evil, { at: 0 }))).toBe("cut");
  });

  test("the same SYN sent again is asked about, and answered as before", () => {
    const t = telling();
    const talk = told(t);
    expect(t.of(talk.syn())).toBe("look");
    expect(t.of(talk.client(hello))).toBe("pass");
  });

  test("another SYN with its ports has to show its SYN-ACK", () => {
    const t = telling();
    const first = told(t);
    const second = t.talk({ sourcePort: first.sourcePort, isn: first.isn - hello.length });
    second.remembered = STATE.looking;
    expect(t.of(second.syn())).toBe("confirm");
    expect(t.of(second.client(concat(hello, evil)))).toBe("drop");
  });

  test("takes the place of one with its ports that is over", () => {
    const t = telling();
    const first = told(t);
    const held = first.client(hello.subarray(0, 50));
    t.wait(2_000);
    const second = t.talk({ sourcePort: first.sourcePort, isn: 77 });
    second.toldSyn();
    // It went on piecewise, for its rest did not come.
    expect(t.of(held)).toBe("confirm");
    expect(t.inspector.flows).toBe(1);
    expect(t.of(second.client(evil))).toBe("cut");
  });

  // Of SYNs that begin side by side on two processors conntrack drops all but one, and nobody says which.
  test.each([1, 2])("none is believed where %i more with its ports were told of", (more) => {
    const t = telling();
    const first = told(t);
    // To a server that keeps to the first of them it lies before its window but for the hello at its end.
    const hidden = clientHello({ names: ["api.github.com"], extra: [[0xfafa, evil]] });
    const talks = Array.from({ length: more }, (_, index) => {
      const talk = t.talk({ sourcePort: first.sourcePort, isn: first.isn - hello.length - index });
      talk.toldSyn();
      return talk;
    });
    expect(t.ended).toHaveLength(more);
    expect(t.outcome).toBe("Deny - AmbiguousCopy");
    for (const talk of [...talks.reverse(), first]) expect(t.of(talk.client(hidden, { at: 0 }))).toBe("drop");
    expect(t.inspector.flows).toBe(1);
  });

  test("nor where the other one was asked about", () => {
    const t = telling();
    const first = t.talk({ sourcePort: port++ });
    expect(t.of(first.syn())).toBe("look");
    const second = t.talk({ sourcePort: first.sourcePort, isn: first.isn - hello.length });
    second.toldSyn();
    expect(t.of(second.client(concat(hello, evil), { at: 0 }))).toBe("drop");
    expect(t.ended).toHaveLength(1);
  });

  test("nor where the other one found no room", () => {
    const t = telling({ limits: { lookingFlows: 1 } });
    const over = told(t);
    const first = told(t);
    over.client("", { flags: 4, at: 0 });
    expect(t.inspector.flows).toBe(0);
    const second = t.talk({ sourcePort: first.sourcePort, isn: first.isn - hello.length });
    second.toldSyn();
    expect(t.of(second.client(concat(hello, evil), { at: 0 }))).toBe("drop");
  });

  test("nor for two seconds after some were lost, when none is told of anew", () => {
    const t = telling();
    expect([syn(t, WEB, 443), syn(t, WEB, 443)]).toEqual(["look", "tell"]);
    t.inspector.toldLost(t.now);
    expect(t.of(told(t).client(hello))).toBe("drop");
    t.wait(200);
    expect(syn(t, WEB, 443)).toBe("look");
    t.wait(2_000);
    expect(syn(t, WEB, 443)).toBe("tell");
    expect(t.of(told(t).client(hello))).toBe("pass");
  });

  test("of which nobody was told is reset when it speaks", () => {
    const t = telling();
    const talk = t.talk();
    talk.remembered = STATE.looking;
    expect(t.of(talk.client(hello))).toBe("reject");
    expect(t.outcome).toBe("Deny - NoRememberedDecision");
  });

  test("is ended where it is denied by now", () => {
    const t = telling();
    t.inspector.adopt(compileScene({ ...scene(), policies: [denyAll()] }), t.now);
    told(t);
    expect(t.ended).toHaveLength(1);
    expect(t.last).toMatchObject({ kind: "flow", state: "rejected" });
    expect(t.inspector.flows).toBe(0);
  });

  test("goes on where its address decides by now, and is recorded with what it says", () => {
    const t = telling();
    const talk = told(t, { to: SSH, port: 22 });
    expect(t.of(talk.server("SSH-2.0-x\r\n"))).toBe("allow");
    expect(t.outcome).toBe("Allow partner RuleMatched");
  });

  test("of a pod that nobody selects any more passes", () => {
    const t = telling();
    t.inspector.adopt(compileScene({ ...scene(), policies: [] }), t.now);
    const talk = told(t);
    expect(t.of(talk.client(evil))).toBe("allow");
  });

  test("beyond the workload's bound is refused when it speaks, and said once a second", () => {
    const t = telling({ limits: { lookingFlows: 2 } });
    const talks = Array.from({ length: 5 }, () => told(t));
    expect(t.inspector.flows).toBe(2);
    expect(t.records.map(({ decision }) => decision.reason)).toEqual(["LimitReached"]);
    expect(t.inspector.counters.limitReached).toBe(3);
    expect(t.of(talks[4]!.client(hello))).toBe("reject");
    expect(t.of(talks[0]!.client(hello))).toBe("pass");
  });

  test("is decided anew with every change, like any other", () => {
    const t = telling();
    const talk = told(t);
    t.inspector.adopt(compileScene({ ...scene(), policies: [denyAll()] }), t.now);
    expect(t.of(talk.client(hello))).toMatch(/reject|cut/);
  });

  test("a copy that is cut short tells nothing", () => {
    const t = telling();
    t.inspector.told(new Uint8Array(44).fill(0x45), 0, 44, t.now);
    t.inspector.told(LINUX_SYN, 0, 1, t.now);
    expect(t.inspector.counters.malformed).toBe(1);
    expect(t.inspector.flows).toBe(0);
  });
});

function denyAll() {
  return policy("app", [rule("nothing", "Deny", { domains: ["*"] })], {
    priority: 10,
    subject: { namespaceSelector: null, podSelector: null, serviceAccounts: null },
  });
}
