import { describe, expect, test } from "vitest";
import { STATE } from "../../../src/model/verdict.ts";
import { TCP_FLAG } from "../../../src/packet/tcp.ts";
import { clientHello, concat, record } from "../../support/hello.ts";
import { type Talk, Transcript, WEB } from "./transcript.ts";

const hello = clientHello({ names: ["api.github.com"] });
const serverHello = record(22, concat([2, 0, 0, 38, 3, 3], new Array<number>(32).fill(9), [0, 0x13, 1, 0]), 0x0303);
const RST = TCP_FLAG.rst;

function handedOver(): { t: Transcript; talk: Talk } {
  const t = new Transcript();
  t.bind("api.github.com", WEB);
  const talk = t.talk();
  talk.open();
  talk.client(hello);
  expect(t.of(talk.acknowledge(talk.clientNext, serverHello))).toBe("allow");
  return { t, talk };
}

describe("packets that were queued before the kernel took note of an allowed flow", () => {
  test("the rest of the server's flight passes, and the client's next packet", () => {
    const { t, talk } = handedOver();
    expect(t.of(talk.server("more of the first flight"))).toBe("pass");
    expect(t.of(talk.client("a finished message"))).toBe("pass");
    expect(t.records).toHaveLength(1);
  });

  test("not for long", () => {
    const { t, talk } = handedOver();
    t.wait(1100);
    t.wait(1100);
    expect(t.of(talk.server("late"))).toBe("reject");
  });

  test("not when the kernel remembers something else", () => {
    const { t, talk } = handedOver();
    talk.remembered = STATE.http;
    expect(t.of(talk.client("GET / HTTP/1.1\r\n"))).toBe("reject");
  });

  test("not for a flow that takes the same port (EVASION 14)", () => {
    const { t } = handedOver();
    const next = t.talk({ isn: 9_000_000 });
    next.open();
    t.now += 1;
    expect(t.of(next.client("", { flags: RST }))).toBe("pass");
    expect(t.of(next.client(hello))).toBe("reject");
  });

  test("many of them do not stay", () => {
    const t = new Transcript();
    t.bind("api.github.com", WEB);
    for (let port = 1024; port < 1224; port++) {
      const talk = t.talk({ sourcePort: port });
      talk.open();
      talk.client(hello);
      talk.acknowledge(talk.clientNext, serverHello);
      t.wait(100);
    }
    const last = t.talk({ sourcePort: 1024 });
    last.remembered = STATE.looking;
    expect(t.of(last.server("x"))).toBe("reject");
  });
});
