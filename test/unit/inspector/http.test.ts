import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { STATE } from "../../../src/model/verdict.ts";
import { ascii } from "../../support/hello.ts";
import { runs } from "../../support/runs.ts";
import { OTHER, type Talk, Transcript, WEB } from "./transcript.ts";

const get = (path: string, host = "api.example.com", more = "") =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
const post = (path: string, body: string, more = "") =>
  `POST ${path} HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`;
const chunked = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;

function opened(
  name = "api.example.com",
  options: Parameters<Transcript["talk"]>[0] = {},
): { t: Transcript; talk: Talk } {
  const t = new Transcript();
  t.bind(name, WEB);
  const talk = t.talk({ port: 80, ...options });
  talk.open();
  return { t, talk };
}

/** After an allowed first request that the server has acknowledged. */
function kept(): { t: Transcript; talk: Talk } {
  const { t, talk } = opened();
  talk.client(get("/ok/1"));
  expect(t.of(talk.acknowledge(talk.clientNext, "HTTP/1.1 200 OK\r\n\r\n"))).toBe("http");
  talk.remembered = STATE.http;
  return { t, talk };
}

describe("under rules that only look at the name", () => {
  test("every later request is decided all the same", () => {
    const { t, talk } = opened("api.github.com");
    expect(t.of(talk.client(get("/x?secret=1", "api.github.com")))).toBe("confirm");
    expect(t.last).toMatchObject({ kind: "request", method: "GET", path: "/x", name: "api.github.com", state: "http" });
    expect(t.of(talk.acknowledge())).toBe("http");
    talk.remembered = STATE.http;
    expect(t.of(talk.client(get("/", "evil.example.com")))).toBe("cut");
  });

  test("a path with two meanings is no matter: nothing asks for it (EVASION 45)", () => {
    const { t, talk } = opened("api.github.com");
    expect(t.of(talk.client(get("/scope%2fname", "api.github.com")))).toBe("confirm");
    expect(t.last).toMatchObject({ path: null, state: "http" });
  });
});

test("a path with two meanings is under no rule that looks at paths (EVASION 45)", () => {
  const { t, talk } = opened();
  expect(t.of(talk.client(get("/ok/a%2fb")))).toBe("cut");
});

test("where the address alone is enough, HTTP is not read at all", () => {
  const { t } = opened();
  expect(t.of(t.talk({ to: "203.0.113.77", port: 80, sourcePort: 7 }).syn())).toBe("allow");
});

describe("the first request", () => {
  test("is decided on method, host and path, and its query is in no record", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client(get("/ok/a?token=secret")))).toBe("confirm");
    expect(t.outcome).toBe("Allow api RuleMatched");
    expect(JSON.stringify(t.last)).not.toContain("secret");
  });

  test("denied is answered 403 with policy, rule, reason and flow, and none of its own text", () => {
    const { t, talk } = opened();
    expect(t.of(talk.client(get("/private/secret-path")))).toBe("cut");
    const [said] = t.said("client");
    expect(said).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
    expect(said).toMatch(/Connection: close\r\n/);
    expect(said).toContain(`"flow":"0-${t.last.flowId}"`);
    expect(said).not.toContain("secret-path");
    expect(t.said("server")).toEqual([`RST ${talk.isn + 1}`]);
  });

  test("split anywhere is held until it is whole (EVASION 42)", () => {
    const bytes = ascii(get("/ok"));
    for (let cut = 1; cut < bytes.length; cut++) {
      const { t, talk } = opened();
      const first = talk.client(bytes.subarray(0, cut));
      expect(t.of(first)).toBe("held");
      const second = talk.client(bytes.subarray(cut));
      expect([t.of(first), t.of(second)]).toEqual(["confirm", "confirm"]);
    }
  });

  test.each([
    ["two Hosts (41)", "GET /ok HTTP/1.1\r\nHost: api.example.com\r\nHost: evil.example.com\r\n\r\n"],
    ["another absolute target (41)", "GET http://evil.example.com/ok HTTP/1.1\r\nHost: api.example.com\r\n\r\n"],
    ["obs-fold (41)", "GET /ok HTTP/1.1\r\nHost: api.example.com\r\nX: a\r\n b\r\n\r\n"],
    ["a space before the colon (41)", "GET /ok HTTP/1.1\r\nHost : api.example.com\r\n\r\n"],
    ["bare LF (41)", "GET /ok HTTP/1.1\nHost: api.example.com\n\n"],
    ["length and chunked (40)", get("/ok", undefined, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")],
    ["two lengths (40)", get("/ok", undefined, "Content-Length: 5\r\nContent-Length: 6\r\n")],
    ["odd Transfer-Encoding (40)", get("/ok", undefined, "Transfer-Encoding: xchunked\r\n")],
    ["CONNECT (43)", "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"],
    ["Upgrade to WebSocket (43)", get("/ok", undefined, "Upgrade: websocket\r\nConnection: Upgrade\r\n")],
    ["Upgrade to h2c (43)", get("/ok", undefined, "Upgrade: h2c\r\nConnection: Upgrade\r\n")],
    ["HTTP/2 preface (43)", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["HTTP/0.9 (44)", "GET /ok\r\n"],
    ["path above the prefix (45)", get("/ok/../private")],
    ["encoded dots (45)", get("/ok/%2e%2e/private")],
    ["encoded slash (45)", get("/ok%2f..%2fprivate")],
    ["another method", "DELETE /ok HTTP/1.1\r\nHost: api.example.com\r\n\r\n"],
  ])("is refused: %s", (_, text) => {
    const { t, talk } = opened();
    expect(["cut", "reject"]).toContain(t.of(talk.client(text)));
    expect(t.last.decision.action).toBe("Deny");
    expect(t.passed.length).toBe(3);
  });

  test("to an address that is not bound is refused, whatever the Host", () => {
    const t = new Transcript();
    const talk = t.talk({ port: 80, to: OTHER });
    talk.open();
    const id = talk.client(get("/ok"));
    expect(t.resolves[0]?.names).toEqual(["api.example.com"]);
    t.inspector.resolved(1, [], t.now);
    expect(t.of(id)).toBe("cut");
    expect(t.outcome).toBe("Deny - NotResolved");
  });
});

test("malformed is refused also where the binding alone would do", () => {
  const { t, talk } = opened("api.github.com", { port: 8443 });
  expect(t.of(talk.client("GET / HTTP/1.1\nHost: evil.example.com\n\n"))).toBe("cut");
  expect(t.outcome).toBe("Deny - Malformed");
});

test("a head over 64 kB is refused (42)", () => {
  const { t, talk } = opened();
  const long = ascii(get("/ok", undefined, `X: ${"y".repeat(70_000)}\r\n`));
  for (let at = 0; at < long.length && t.records.length === 0; at += 1400) {
    talk.client(long.subarray(at, at + 1400));
    if (at > 14_000) talk.acknowledge(at - 14_000);
  }
  expect(t.records[0]!.decision.reason).toBe("Malformed");
});

test("two leading blank lines are read over, as servers do (42)", () => {
  const { t, talk } = opened();
  expect(t.of(talk.client(`\r\n${get("/ok")}`))).toBe("confirm");
});

describe("a kept connection (EVASION 39)", () => {
  test("each request is decided and recorded", () => {
    const { t, talk } = kept();
    expect(t.of(talk.client(get("/ok/2")))).toBe("pass");
    expect(t.records.filter((event) => event.kind === "request").length).toBe(2);
    expect(t.of(talk.client(get("/no")))).toBe("cut");
    expect(t.said("server")).toEqual([`RST ${talk.isn + 1 + talk.clientNext - get("/no").length}`]);
  });

  test("another Host is refused", () => {
    const { t, talk } = kept();
    expect(t.of(talk.client(get("/ok", "evil.example.com")))).toBe("cut");
  });

  test("one packet with an allowed and a denied request does not go", () => {
    const { t, talk } = kept();
    expect(t.of(talk.client(get("/ok") + get("/no")))).toBe("cut");
  });

  test("a packet with the start of the next head is held", () => {
    const { t, talk } = kept();
    const id = talk.client(`${get("/ok")}GET /n`);
    expect(t.of(id)).toBe("held");
    expect(t.of(talk.client("o HTTP/1.1\r\nHost: api.example.com\r\n\r\n"))).not.toBe("pass");
    expect(t.of(id)).not.toBe("pass");
  });

  test("a head that never ends is over when facts end", () => {
    const { t, talk } = kept();
    talk.client("GET /ok HT");
    t.wait(31_000);
    expect(t.outcome).toBe("Deny - Malformed");
    expect([...t.verdicts.values()].every((list) => list.length === 1)).toBe(true);
  });

  test("bytes that are no request are refused", () => {
    const { t, talk } = kept();
    expect(t.of(talk.client(Uint8Array.of(0x16, 3, 1, 0, 5, 1, 2, 3)))).toBe("cut");
  });

  test("acknowledgements and the FIN pass", () => {
    const { t, talk } = kept();
    expect(t.of(talk.client(""))).toBe("pass");
    expect(t.of(talk.fin())).toBe("pass");
  });

  test("with a body: requests in the body are body (EVASION 44)", () => {
    const { t, talk } = kept();
    expect(t.of(talk.client(post("/ok", get("/no"))))).toBe("pass");
    expect(t.of(talk.client(chunked("/ok", "5\r\nGET /\r\n0\r\n\r\n")))).toBe("pass");
    expect(t.of(talk.client(get("/no")))).toBe("cut");
  });

  test.each(["5;x=y\r\nGET /\r\n0\r\n\r\n", "5\nGET /\r\n", "-5\r\n", "ffffffffff\r\n"])(
    "bad chunks are refused: %j",
    (body) => {
      const { t, talk } = kept();
      expect(t.of(talk.client(chunked("/ok", body)))).toBe("cut");
    },
  );

  test("a long upload passes packet by packet without being kept", () => {
    const { t, talk } = kept();
    talk.client(`POST /ok HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 1000000\r\n\r\n`);
    const piece = new Uint8Array(10_000).fill(65);
    for (let i = 0; i < 100; i++) expect(t.of(talk.client(piece))).toBe("pass");
    expect(t.of(talk.client(get("/ok")))).toBe("pass");
  });
});

describe("copies on a kept connection", () => {
  test("of a head, with another path, cut the flow", () => {
    const { t, talk } = kept();
    const at = talk.clientNext;
    talk.client(get("/ok/a"));
    expect(t.of(talk.client(get("/no/a"), { at }))).toBe("cut");
    expect(t.outcome).toBe("Deny - AmbiguousCopy");
  });

  test("of a head, identical, pass", () => {
    const { t, talk } = kept();
    const at = talk.clientNext;
    talk.client(get("/ok/a"));
    expect(t.of(talk.client(get("/ok/a"), { at }))).toBe("pass");
  });

  test("of body bytes pass whatever they hold", () => {
    const { t, talk } = kept();
    const at = talk.clientNext;
    const head = "POST /ok HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 10\r\n\r\n";
    talk.client(`${head}0123456789`);
    expect(t.of(talk.client("abcde", { at: at + head.length }))).toBe("pass");
    expect(t.of(talk.client("POST", { at }))).toBe("pass");
    expect(t.of(talk.client("PUT ", { at }))).toBe("cut");
  });

  test("of framing bytes no longer kept are dropped", () => {
    const { t, talk } = kept();
    const first = talk.clientNext;
    for (let i = 0; i < 40; i++) talk.client(get(`/ok/${"x".repeat(2000)}`));
    expect(t.of(talk.client(get("/no"), { at: first }))).toBe("drop");
    expect(t.inspector.counters.droppedCopies).toBe(1);
    expect(t.of(talk.client(get("/ok")))).toBe("pass");
  });

  test("later segments wait for the earlier ones", () => {
    const { t, talk } = kept();
    const at = talk.clientNext;
    const bytes = ascii(get("/ok/late"));
    const late = talk.client(bytes.subarray(20), { at: at + 20 });
    expect(t.of(late)).toBe("held");
    const early = talk.client(bytes.subarray(0, 20), { at });
    expect([t.of(early), t.of(late)]).toEqual(["pass", "pass"]);
  });
});

test("idle connections of one workload keep little when memory is tight", () => {
  const t = new Transcript({ limits: { reassemblyBytes: 400_000 } });
  t.bind("api.example.com", WEB);
  for (let i = 0; i < 40; i++) {
    const talk = t.talk({ port: 80, sourcePort: 3000 + i });
    talk.open();
    talk.client(get("/ok"));
    talk.acknowledge();
    talk.remembered = STATE.http;
    for (let k = 0; k < 8; k++) talk.client(get(`/ok/${"x".repeat(1500)}`));
  }
  expect(t.records.filter((event) => event.decision.action === "Deny")).toEqual([]);
});

test("property: pipelined requests in any segmentation: nothing of a denied one gets whole to the server", () => {
  const request = fc.oneof(
    fc.constant({ text: get("/ok/a"), ok: true }),
    fc.constant({ text: post("/ok/b", "body"), ok: true }),
    fc.constant({ text: chunked("/ok/c", "3\r\nabc\r\n0\r\n\r\n"), ok: true }),
    fc.constant({ text: get("/no"), ok: false }),
    fc.constant({ text: get("/ok", "evil.example.com"), ok: false }),
  );
  fc.assert(
    fc.property(
      fc.array(request, { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 20 }),
      (requests, sizes) => {
        const { t, talk } = kept();
        const bytes = ascii(requests.map((one) => one.text).join(""));
        const bad = requests.findIndex((one) => !one.ok);
        const allowedEnd = (bad < 0 ? requests : requests.slice(0, bad + 1)).reduce(
          (sum, one) => sum + one.text.length,
          0,
        );
        const base = talk.clientNext;
        let at = 0;
        let furthest = 0;
        for (let i = 0; at < bytes.length; i++) {
          const end = Math.min(bytes.length, at + sizes[i % sizes.length]!);
          const id = talk.client(bytes.subarray(at, end), { at: base + at });
          if (t.of(id) === "pass") furthest = end;
          at = end;
        }
        t.wait(60_000);
        const whole = [...t.sent.keys()].every((id) => t.verdicts.get(id)?.length === 1);
        expect(whole).toBe(true);
        if (bad >= 0) expect(furthest).toBeLessThan(allowedEnd);
        else expect(t.records.every((event) => event.decision.action === "Allow")).toBe(true);
      },
    ),
    { numRuns: runs(150) },
  );
});
