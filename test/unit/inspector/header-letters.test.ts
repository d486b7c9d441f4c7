import { describe, expect, test } from "vitest";
import { FROM_SERVER, REMEMBERED_SHIFT, STATE } from "../../../src/model/verdict.ts";
import { buildTcp } from "../../../src/packet/build.ts";
import { newPacket, parsePacket } from "../../../src/packet/ip.ts";
import { newTcpSegment, parseTcp, readTcpOptions, TCP_FLAG } from "../../../src/packet/tcp.ts";
import { withBetween } from "../../support/attacker/between.ts";
import { address } from "../../support/cases.ts";
import { APP, APP6, OTHER, Transcript, WEB6 } from "./transcript.ts";

const { syn, ack, rst } = TCP_FLAG;
const LETTER = Buffer.from("20 bytes of secrets!");
const experiment = Uint8Array.from([253, 22, ...LETTER]);
const multipath = Uint8Array.of(30, 4, 1, 1);
const timestamps = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2);

/** An undecided flow to an address that no name is known for. */
function looking() {
  const t = new Transcript();
  const talk = t.talk({ to: OTHER });
  talk.open();
  return { t, talk };
}

const optionsOf = (bytes: Uint8Array) => {
  const packet = newPacket();
  const segment = newTcpSegment();
  parsePacket(bytes, 0, bytes.length, packet);
  parseTcp(packet, segment);
  return {
    options: readTcpOptions(bytes, segment.optionsStart, segment.payloadStart),
    text: Buffer.from(bytes).toString("latin1"),
  };
};

describe("what a handshake that is still undecided may carry", () => {
  test("a bare acknowledgement passes, with time stamps too", () => {
    const { t, talk } = looking();
    expect(t.of(talk.client(""))).toBe("pass");
    expect(t.of(talk.client("", { options: timestamps }))).toBe("pass");
  });

  test("one with an option of the sender's invention does not", () => {
    const { t, talk } = looking();
    expect(t.of(talk.client("", { options: experiment }))).toBe("drop");
    expect(t.of(talk.client("", { options: Uint8Array.from([0, 1, ...LETTER]) }))).toBe("drop");
    expect(t.of(talk.client("", { options: Uint8Array.from([5, 34, ...new Array(32).fill(65)]) }))).toBe("drop");
  });

  test("nor a reset that carries bytes", () => {
    const { t, talk } = looking();
    expect(t.of(talk.client("a letter", { at: 0, flags: rst }))).toBe("drop");
    expect(t.of(talk.client("", { at: 0, flags: rst }))).toBe("pass");
  });

  test.each([
    [APP, OTHER, [...Buffer.from("\x44\x08ABCDEF")]],
    [APP6, WEB6, [0, 2, 1, 20, ...LETTER]],
  ])("nor IP options and extension headers: %s", (source, destination, between) => {
    const t = new Transcript();
    const ends = {
      source: address(source),
      destination: address(destination),
      sourcePort: 50000,
      destinationPort: 443,
      window: 65535,
    };
    const with_ = (bytes: Uint8Array) => withBetween(bytes, { between: Buffer.from(between).toString("base64") });
    const opening = buildTcp({ ...ends, seq: 1000, ack: 0, flags: syn });
    expect(t.of(t.send(with_(opening)))).toBe("drop");
    expect(t.of(t.send(opening))).toBe("look");
    const back = {
      ...ends,
      source: ends.destination,
      destination: ends.source,
      sourcePort: 443,
      destinationPort: 50000,
    };
    const remembered = STATE.looking << REMEMBERED_SHIFT;
    t.send(buildTcp({ ...back, seq: 9000, ack: 1001, flags: syn | ack }), FROM_SERVER | remembered);
    const reply = buildTcp({ ...ends, seq: 1001, ack: 9001, flags: ack });
    expect(t.of(t.send(with_(reply), remembered))).toBe("drop");
    expect(t.of(t.send(reply, remembered))).toBe("pass");
  });

  test("the options that a SYN may not have are taken out, of each copy of it", () => {
    const t = new Transcript();
    const talk = t.talk({ to: OTHER });
    const plain = talk.syn();
    expect([t.of(plain), t.replacements.has(plain)]).toEqual(["look", false]);
    const again = talk.client("", {
      at: -1,
      flags: syn,
      ack: 0,
      options: Uint8Array.from([2, 4, 5, 160, ...multipath, ...experiment]),
    });
    expect(t.of(again)).toBe("look");
    const { options, text } = optionsOf(t.replacements.get(again)!);
    expect(options.malformed).toBe(false);
    expect(text).not.toContain("secrets");
    expect(Buffer.from(text, "latin1").subarray(40, 44)).toEqual(Buffer.from([2, 4, 5, 160]));
    expect(text.charCodeAt(44)).toBe(1);
  });
});
