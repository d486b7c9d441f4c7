import { describe, expect, test } from "vitest";
import { STATE } from "../../../src/model/verdict.ts";
import { TLS_ALERT_ACCESS_DENIED } from "../../../src/packet/tls.ts";
import { clientHello, concat, record } from "../../support/hello.ts";
import { SSH, type Talk, Transcript, WEB } from "./transcript.ts";

const hello = clientHello({ names: ["api.github.com"] });
const evil = clientHello({ names: ["evil.example.com"] });
const serverHello = record(22, concat([2, 0, 0, 38, 3, 3], new Array<number>(32).fill(9), [0, 0x13, 1, 0]), 0x0303);

/** The SYN was asked about; the kernel let the SYN-ACK and its acknowledgement go unasked. */
function opened(to = WEB, port = 443): { t: Transcript; talk: Talk } {
  const t = new Transcript();
  t.bind("api.github.com", to);
  const talk = t.talk({ to, port });
  expect(t.of(talk.syn())).toMatch(/look|allow/);
  talk.remembered = STATE.looking;
  return { t, talk };
}

describe("a connection whose SYN-ACK nobody asked about", () => {
  test("is handed over with the server's first record", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client(hello))).toBe("pass");
    expect(t.outcome).toBe("Allow github RuleMatched");
    expect(t.of(talk.acknowledge(hello.length, serverHello))).toBe("allow");
    expect(t.inspector.flows).toBe(0);
  });

  test("is told of its denial with the numbers that both ends expect", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client(evil))).toBe("cut");
    expect(t.said("server")).toEqual([`RST ${talk.isn + 1}`]);
    expect(t.said("client")).toEqual([String.fromCharCode(...TLS_ALERT_ACCESS_DENIED)]);
  });

  test("may carry a hello that is larger than the window of a SYN-ACK says, once the server has spoken", () => {
    const { t, talk } = opened();
    const large = clientHello({ names: ["api.github.com"], padding: 50_000 });
    const ids: number[] = [];
    for (let at = 0; at < large.length; at += 1400) ids.push(talk.client(large.subarray(at, at + 1400)));
    expect(ids.map((id) => t.of(id)).filter((word) => word !== "pass" && word !== "confirm")).toEqual([]);
    expect(t.of(talk.acknowledge(large.length, serverHello))).toBe("allow");
  });

  test("is decided on the server's words where the server speaks first", () => {
    const { t, talk } = opened(WEB, 8443);
    expect(t.of(talk.server("220 hello\r\n"))).toBe("allow");
    expect(t.last).toMatchObject({ application: "ServerFirst" });
  });

  test("ends when the server refuses it", () => {
    const { t, talk } = opened();
    expect(t.of(talk.server("", { flags: 0x14 }))).toBe("pass");
    expect(t.inspector.flows).toBe(0);
  });

  test("by an address rule the banner goes at once", () => {
    const t = new Transcript();
    const talk = t.talk({ to: SSH, port: 22 });
    expect(t.of(talk.syn())).toBe("allow");
  });
});

describe("a pod that lies about what it was sent", () => {
  test("too high: the server discards the hello, and no other one is taken for it", () => {
    const { t, talk } = opened();
    const high = talk.serverIsn + 1 + 500;
    expect(t.of(talk.client(hello, { at: 0, ack: high }))).toBe("pass");
    expect(t.of(talk.client(evil, { at: 0 }))).toBe("drop");
    expect(t.of(talk.client(hello, { at: 0 }))).toBe("drop");
    expect(t.of(talk.client(evil, { at: 0, ack: high }))).not.toMatch(/pass|allow|look|http|confirm/);
  });

  test("too low: the server's answer leaves a gap before it, so the flow is never handed over", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client(hello, { at: 0, ack: talk.serverIsn + 1 - 50 }))).toBe("pass");
    expect(t.of(talk.acknowledge(hello.length, serverHello))).toBe("drop");
    expect(t.of(talk.client(evil, { at: hello.length, ack: talk.serverIsn + 1 - 50 }))).not.toMatch(/pass|allow|http/);
  });
});

describe("a SYN where an earlier one may have been answered", () => {
  /** What the server took is another number than the inspector was told of last. */
  function second(): { t: Transcript; first: Talk; talk: Talk } {
    const { t, talk: first } = opened();
    const talk = t.talk({ to: WEB, isn: first.isn - 200 });
    talk.remembered = STATE.looking;
    expect(t.of(talk.syn())).toBe("confirm");
    return { t, first, talk };
  }

  test("is followed once the server has answered it", () => {
    const { t, talk } = second();
    expect(t.of(talk.synAck())).toBe("look");
    expect(t.of(talk.client(hello))).toBe("pass");
    expect(t.of(talk.acknowledge(hello.length, serverHello))).toBe("allow");
  });

  test("brings no bytes to a server that has not answered it", () => {
    const { t, first, talk } = second();
    expect(t.of(talk.client(hello))).toBe("drop");
    expect(t.of(first.synAck())).toBe("drop");
    expect(t.of(talk.server("220 hello"))).toBe("drop");
    expect(t.of(talk.client(hello, { at: 0 }))).toBe("drop");
    expect(t.of(talk.syn())).toBe("confirm");
  });

  test("is one on an entry that conntrack knows, also where the agent does not", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    const talk = t.talk({ to: WEB });
    talk.remembered = STATE.looking;
    expect(t.of(talk.syn())).toBe("confirm");
    expect(t.of(talk.client(hello))).toBe("drop");
  });

  test("is every one where conntrack does not compare the numbers", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    t.inspector.looseWindows = true;
    const talk = t.talk({ to: WEB });
    expect(t.of(talk.syn())).toBe("confirm");
    expect(t.of(talk.client(hello, { at: 0 }))).toBe("drop");
    expect(t.of(talk.synAck())).toBe("look");
    expect(t.of(talk.client(hello, { at: 0 }))).toBe("pass");
  });
});
