import { describe, expect, test } from "vitest";
import { STATE } from "../../../src/model/verdict.ts";
import { newPacket, parsePacket } from "../../../src/packet/ip.ts";
import { tcpChecksumOk } from "../../../src/packet/tcp.ts";
import { address, compileScene, policy } from "../../support/cases.ts";
import { clientHello } from "../../support/hello.ts";
import { APP, GUARDED, OTHER, PLAIN, SSH, scene, Transcript, WATCHED, WEB } from "./transcript.ts";

const hello = clientHello({ names: ["api.github.com"] });
const once = (t: Transcript) => [...t.sent.keys()].every((id) => t.verdicts.get(id)?.length === 1);

describe("a server that speaks first", () => {
  test("is decided on its first packet; binding alone is enough outside 80 and 443", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    const talk = t.talk({ port: 8443 });
    talk.open();
    expect(t.of(talk.server("220 ready\r\n"))).toBe("allow");
    expect(t.last).toMatchObject({ application: "ServerFirst", state: "allowed", name: "api.github.com" });
    expect(t.inspector.flows).toBe(0);
  });

  test("on a port that needs evidence is denied, and neither side sees more", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    const talk = t.talk();
    talk.open();
    expect(t.of(talk.server("SSH-2.0-x\r\n"))).toBe("reject");
    expect(t.outcome).toBe("Deny - NameMissing");
    expect(t.said("client")).toEqual([`RST ${talk.serverIsn + 1}`]);
    expect(t.said("server")).toEqual([`RST ${talk.isn + 1}`]);
  });

  test("while the client's hello is incomplete waits", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    const talk = t.talk();
    talk.open();
    talk.client(hello.subarray(0, 30));
    expect(t.of(talk.server("220 ready\r\n"))).toBe("drop");
  });
});

describe("bytes that are neither TLS nor HTTP", () => {
  test("go with the binding on other ports, and are handed over when acknowledged", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    const talk = t.talk({ port: 8443 });
    talk.open();
    expect(t.of(talk.client(Uint8Array.of(1, 2, 3)))).toBe("confirm");
    expect(t.of(talk.client(Uint8Array.of(9), { at: 0 }))).toBe("reject");
    expect(t.outcome).toBe("Deny - AmbiguousCopy");
  });

  test("are handed over when acknowledged", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    const talk = t.talk({ port: 8443 });
    talk.open();
    talk.client(Uint8Array.of(1, 2, 3));
    expect(t.of(talk.acknowledge(2))).toBe("pass");
    expect(t.of(talk.acknowledge(3))).toBe("allow");
  });
});

describe("the server", () => {
  test("that refuses the connection ends the state", () => {
    const t = new Transcript();
    const talk = t.talk();
    talk.syn();
    expect(t.of(talk.server("", { at: -1, flags: 20, ack: 0 }))).toBe("pass");
    expect(t.inspector.flows).toBe(0);
    expect(t.records).toEqual([]);
  });

  test("whose acknowledgement covers what was never sent is not believed", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    const talk = t.talk();
    talk.open();
    expect(t.of(talk.acknowledge(500))).toBe("drop");
  });
});

describe("datagrams", () => {
  test("are decided at their first packet", () => {
    const t = new Transcript();
    t.bind("dns.example.com", WEB);
    expect(t.of(t.udp(WEB, 5300, "x"))).toBe("allow");
    expect(t.of(t.udp(OTHER, 9, "x"))).toBe("reject");
    expect(t.of(t.udp("203.0.113.77", 443, "x", { sourcePort: 2 }))).toBe("allow");
    expect(t.of(t.udp(OTHER, 9, "x", { from: PLAIN }))).toBe("allow");
  });

  test("wait together for a binding", () => {
    const t = new Transcript();
    const ids = [1, 2, 3].map(() => t.udp(WEB, 5300, "x"));
    expect(ids.map((id) => t.of(id))).toEqual(["held", "held", "held"]);
    t.inspector.resolved(1, [{ name: "dns.example.com", aliases: [], addresses: [address(WEB)], ttl: 9 }], t.now);
    expect(ids.map((id) => t.of(id))).toEqual(["allow", "allow", "allow"]);
    const late = t.udp(OTHER, 5300, "x", { sourcePort: 9 });
    expect(t.of(late)).toBe("reject");
  });

  test("give up waiting after a second", () => {
    const t = new Transcript();
    const id = t.udp(WEB, 5300, "x");
    t.wait(1000);
    expect(t.of(id)).toBe("reject");
    expect(t.inspector.flows).toBe(0);
  });

  test("that look like QUIC hide their name; an allowed flow is asked again", () => {
    const t = new Transcript();
    t.bind("dns.example.com", WEB);
    const quic = Uint8Array.of(0xc0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
    t.udp(WEB, 5300, quic, { remembered: STATE.allowed });
    expect(t.of(t.udp("203.0.113.77", 443, quic, { remembered: STATE.allowed, sourcePort: 7 }))).toBe("allow");
  });

  test("answers of flows that nobody decided are dropped, or taken for inbound at start", () => {
    const t = new Transcript();
    const bytes = (transcript: Transcript) => transcript.talk({ port: 1 }).server("x");
    expect(t.of(bytes(t))).toBe("reject");
    const adopting = new Transcript({ adopting: true });
    expect(adopting.of(bytes(adopting))).toBe("inbound");
  });
});

describe("DNS over TCP", () => {
  const question = (name: string, id = 7) => {
    const labels = name.split(".").flatMap((label) => [label.length, ...[...label].map((c) => c.charCodeAt(0))]);
    const message = [0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1];
    return Uint8Array.of(0, message.length, ...message);
  };
  const answer = (name: string, id = 7) => {
    const bytes = question(name, id);
    bytes[4] = 0x81;
    bytes[5] = 0x80;
    bytes[9] = 1;
    const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 80];
    return Uint8Array.of(0, bytes.length - 2 + record.length, ...bytes.subarray(2), ...record);
  };
  const opened = () => {
    const t = new Transcript();
    const talk = t.talk({ to: "192.0.2.53", port: 53 });
    expect(talk.open().map((id) => t.of(id))).toEqual(["confirm", "pass", "pass"]);
    return { t, talk };
  };

  test("an allowed question goes, its answer binds, wherever either is split (EVASION 46)", () => {
    const { t, talk } = opened();
    const asked = question("api.github.com");
    const first = talk.client(asked.subarray(0, 9));
    expect(t.of(first)).toBe("held");
    expect(t.of(talk.client(asked.subarray(9)))).toBe("confirm");
    expect(t.of(first)).toBe("confirm");
    const told = answer("api.github.com");
    talk.clientAck = talk.clientNext;
    const part = talk.server(told.subarray(0, 11));
    expect(t.of(part)).toBe("held");
    expect(t.of(talk.server(told.subarray(11)))).toBe("pass");
    expect(t.of(part)).toBe("pass");
    expect(t.names.lookup(1, address(WEB), t.now).names).toEqual(["api.github.com"]);
  });

  test("a denied question is answered, then the connection ends", () => {
    const { t, talk } = opened();
    talk.client(question("api.github.com", 1));
    expect(t.of(talk.client(question("evil.example.com", 2)))).toBe("cut");
    expect(t.said("client").length).toBe(1);
    expect(t.said("client")[0]!.charCodeAt(3)).toBe(2);
    expect(t.said("server")).toEqual([`RST ${talk.isn + 1 + question("api.github.com").length}`]);
    expect(t.last).toMatchObject({ kind: "dns", name: "evil.example.com" });
  });

  test("an answer that nobody asked for ends the connection (EVASION 50)", () => {
    const { t, talk } = opened();
    expect(t.of(talk.server(answer("api.github.com")))).not.toBe("pass");
    expect(t.names.lookup(1, address(WEB), t.now).names).toEqual([]);
    t.wait(60_000);
    expect(once(t)).toBe(true);
  });

  test("ECH keys are taken out in place, of a copy as well", () => {
    const { t, talk } = opened();
    const asked = question("api.github.com");
    asked[asked.length - 3] = 65;
    talk.client(asked);
    talk.clientAck = talk.clientNext;
    const svcb = [0, 1, 0, 0, 1, 0, 3, 2, 104, 50, 0, 5, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    const head = [...asked.subarray(2), 0xc0, 12, 0, 65, 0, 1, 0, 0, 0, 60, 0, svcb.length, ...svcb];
    const told = Uint8Array.of(0, head.length, ...head);
    told[4] = 0x81;
    told[5] = 0x80;
    told[9] = 1;
    const parts = [told.subarray(0, told.length - 6), told.subarray(told.length - 6)];
    const ids = parts.map((part) => talk.server(part));
    ids.push(talk.server(parts[1]!, { at: parts[0]!.length }));
    expect(ids.map((id) => t.of(id))).toEqual(["pass", "pass", "pass"]);
    const [first, second, copy] = ids.map((id) => t.replacements.get(id)!);
    expect(copy).toEqual(second);
    expect(first!.length).toBe(t.sent.get(ids[0]!)!.length);
    const key = [0, 5, 0, 8];
    const joined = [...first!.subarray(40), ...second!.subarray(40)];
    expect(joined.join().includes(key.join())).toBe(false);
    expect([...told].join().includes(key.join())).toBe(true);
    for (const packet of [first!, second!]) {
      const parsed = newPacket();
      expect(parsePacket(packet, 0, packet.length, parsed) && tcpChecksumOk(parsed)).toBe(true);
    }
  });

  test("a connection from before the agent is not adopted", () => {
    const t = new Transcript({ adopting: true });
    expect(t.of(t.talk({ to: "192.0.2.53", port: 53 }).client(question("evil.example.com")))).toBe("reject");
  });

  test("bytes that are no DNS are refused", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client(Uint8Array.of(0, 3, 1, 2, 3)))).toBe("reject");
  });
});

describe("Audit", () => {
  test("a watched flow passes packet by packet; what Audit says is recorded", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB, 3);
    const talk = t.talk({ from: WATCHED });
    expect(talk.open().map((id) => t.of(id))).toEqual(["look", "pass", "pass"]);
    expect(t.of(talk.client(clientHello({ names: ["evil.example.com"] })))).toBe("allow");
    expect(t.last.decision).toMatchObject({ action: "Allow" });
    expect(t.last.audit).toMatchObject({ action: "Deny" });
  });

  test("nothing cuts it", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB, 3);
    const talk = t.talk({ from: WATCHED });
    talk.open();
    expect(t.of(talk.client(hello.subarray(0, 40)))).toBe("pass");
    expect(t.of(talk.client("different", { at: 3 }))).toBe("allow");
    expect(t.inspector.flows).toBe(0);
  });
});

describe("a guardrail", () => {
  test("refuses its names to a workload that nothing isolates, and lets the rest", () => {
    const t = new Transcript();
    const talk = t.talk({ from: GUARDED });
    expect(talk.open().map((id) => t.of(id))).toEqual(["look", "pass", "pass"]);
    expect(t.of(talk.client(clientHello({ names: ["evil.example.com"] })))).toBe("cut");
    const fine = t.talk({ from: GUARDED, sourcePort: 2 });
    fine.open();
    expect(t.of(fine.client(hello))).toBe("pass");
  });
});

describe("a new Program", () => {
  const without = compileScene({ ...scene(), policies: [policy("nothing", [])] });

  test("ends looking and HTTP flows that it no longer allows", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    const talk = t.talk();
    talk.open();
    const held = talk.client(hello.subarray(0, 30));
    t.inspector.adopt(without, t.now);
    expect(t.of(held)).not.toBe("pass");
    expect(t.inspector.flows).toBe(0);
    const web = new Transcript();
    web.bind("api.example.com", WEB);
    const http = web.talk({ port: 80 });
    http.open();
    http.client("GET /ok HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    http.acknowledge();
    web.inspector.adopt(without, web.now);
    expect(web.ended).toMatchObject([{ clientPort: 50000, serverPort: 80 }]);
    expect(web.last.decision.reason).toBe("NoLongerAllowed");
  });

  test("leaves alone what it still allows", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    const talk = t.talk();
    talk.open();
    t.inspector.adopt(compileScene(scene()), t.now);
    expect(t.of(talk.client(hello))).toBe("pass");
  });

  test("in which the address belongs to another workload ends the flow", () => {
    const t = new Transcript();
    const talk = t.talk();
    talk.open();
    const [, ...others] = scene().workloads;
    const moved = { ...scene().workloads[0]!, id: 99, name: "new" };
    t.inspector.adopt(compileScene({ ...scene(), workloads: [moved, ...others] }), t.now);
    expect(t.ended.length).toBe(1);
    expect(t.inspector.flows).toBe(0);
  });
});

test("conntrack's word ends a flow, but not a young one that took over its ports", () => {
  const t = new Transcript();
  const talk = t.talk();
  talk.open();
  const tuple = { protocol: 6, client: talk.source, server: talk.destination, clientPort: 50000, serverPort: 443 };
  t.inspector.flowEnded(tuple);
  expect(t.inspector.flows).toBe(1);
  t.wait(6000);
  t.inspector.flowEnded(tuple);
  expect(t.inspector.flows).toBe(0);
});

test("an allowed address needs no look: SSH", () => {
  const t = new Transcript();
  expect(t.of(t.talk({ to: SSH, port: 22, from: APP }).syn())).toBe("allow");
});
