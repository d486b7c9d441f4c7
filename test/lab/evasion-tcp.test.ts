import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Step } from "../support/attacker/script.ts";
import { describeTwins, stageWith } from "../support/attacker/stage.ts";
import { base64, hello, open, pieces, read, send, wait } from "../support/attacker/steps.ts";
import { type Row, row, type Trick } from "../support/attacker/twins.ts";

const APP1 = "app1-ns/app1";
const ALLOWED = "api.github.com";
const DENIED = "denied.example";
const FIN_ACK = 17;
const RST = 4;
/** What the server says to one hello is less than this, and to two of them more. */
const ONE_ANSWER = 1500;
const MD5 = base64(Uint8Array.of(19, 18, ...new Uint8Array(16)));

/** Opens, does the trick, waits for the server. */
const opened =
  (steps: Trick): Trick =>
  (name, other) => [open(), ...steps(name, other), read()];

const cutInName = (name: string): [Uint8Array, number] => {
  const bytes = hello(name);
  return [bytes, Buffer.from(bytes).indexOf(name) + 4];
};

/** A decoy that the server discards, then the real bytes in its place. */
const decoy = (trick: string, more: Parameters<typeof send>[2]): Row[] => [
  row(
    `${trick}: another name, then the real one`,
    opened((name, other) => [send(0, hello(other), more), wait(60), send(0, hello(name))]),
    "copies of inspected bytes differ",
  ),
  row(
    `${trick}: the same bytes twice`,
    opened((name) => [send(0, hello(name), more), wait(60), send(0, hello(name))]),
  ),
];

/** As `decoy`, where the inspector sees too that the server discards it. */
const visibleDecoy = (trick: string, more: Parameters<typeof send>[2]): Row =>
  row(
    trick,
    opened((name, other) => [send(0, hello(other), more), wait(60), send(0, hello(name))]),
  );

const FIRST_SEQUENCE = 100_000;

/**
 * A hello in which another one ends, for a server that begins to read behind the first `before` bytes: to it they lie before its
 * window, and TCP cuts such bytes off.
 */
const helloBehindHello = (name: string, other: string) => {
  const inner = hello(name);
  const outer = hello(other, { extra: [[0xfafa, inner]] });
  return { outer, before: outer.length - inner.length };
};

/** The server has taken the first SYN; the inspector shall believe a second one, with an earlier sequence number. */
const secondSyn =
  (second: Parameters<typeof open>[0], between: readonly Step[] = []): Trick =>
  (name, other) => {
    const { outer, before } = helloBehindHello(name, other);
    return [
      open({ isn: FIRST_SEQUENCE }),
      ...between,
      open({ isn: FIRST_SEQUENCE - before, blind: true, ...second }),
      wait(40),
      send(0, outer),
      wait(100),
      send(0, outer),
      read(),
    ];
  };
const OTHER_START = "the name that is inspected is the other one";

const ROWS: Row[] = [
  row("a second SYN with an earlier sequence number", secondSyn({}), OTHER_START),
  row("a second SYN that does not reach the server", secondSyn({ ttl: 9 }), OTHER_START),
  row(
    "a reset and a second SYN that do not reach the server",
    secondSyn({ ttl: 9 }, [send(0, "", { flags: RST, ttl: 9 }), wait(30)]),
    OTHER_START,
  ),
  row(
    "a reset and a second SYN that do not reach a server whose SYN-ACK has no answer",
    (name, other) => {
      const { outer, before } = helloBehindHello(name, other);
      return [
        open({ isn: FIRST_SEQUENCE, blind: true }),
        wait(30),
        send(0, "", { flags: RST, ttl: 9 }),
        wait(30),
        open({ isn: FIRST_SEQUENCE - before, blind: true, ttl: 9 }),
        // By then the server has said its SYN-ACK again.
        wait(1200),
        send(0, outer),
        wait(100),
        send(0, outer),
        read(),
      ];
    },
    OTHER_START,
  ),
  row("an earlier sequence number after a connection that came to nothing", (name) => [
    open({ isn: FIRST_SEQUENCE, blind: true, ttl: 9 }),
    wait(30),
    open({ isn: FIRST_SEQUENCE - 500 }),
    send(0, hello(name)),
    read(),
  ]),
  row(
    "1-byte segments",
    opened((name) => pieces(hello(name), 1)),
  ),
  row(
    "1-byte segments, 5 ms apart",
    opened((name) => pieces(hello(name), 1, 5)),
  ),
  row(
    "1-byte segments, 50 ms apart",
    opened((name) => pieces(hello(name), 1, 50)),
  ),
  row(
    "split inside the name",
    opened((name) => {
      const [bytes, cut] = cutInName(name);
      return [send(0, bytes.subarray(0, cut)), wait(20), send(cut, bytes.subarray(cut))];
    }),
  ),
  row(
    "7-byte segments in reverse order",
    opened((name) => pieces(hello(name), 7).reverse()),
  ),
  row(
    "an overlap with other bytes, while the hello is not complete",
    opened((name, other) => {
      const [bytes, cut] = cutInName(name);
      const decoyed = hello(other);
      return [
        send(0, decoyed.subarray(0, cut + 4), { ttl: 9 }),
        send(0, bytes.subarray(0, cut)),
        send(cut, bytes.subarray(cut)),
      ];
    }),
    "copies of inspected bytes differ",
  ),
  row(
    "an overlap of segments that came early, old and new differ",
    opened((name, other) => {
      const [bytes, cut] = cutInName(name);
      const decoyed = hello(other);
      return [
        send(cut - 6, decoyed.subarray(cut - 6), { ttl: 9 }),
        send(cut - 8, bytes.subarray(cut - 8)),
        wait(20),
        send(0, bytes.subarray(0, cut)),
      ];
    }),
    "copies of inspected bytes differ",
  ),
  row(
    "junk left of the window",
    opened((name) => [send(-10, "0123456789"), send(0, hello(name))]),
  ),
  row(
    "sent again with other content after the verdict",
    opened((name, other) => [send(0, hello(other), { ttl: 9 }), wait(250), send(0, hello(name))]),
    "copies of inspected bytes differ",
  ),
  ...decoy("TTL too low for the server", { ttl: 9 }),
  row(
    "stale time stamp: another name, then the real one",
    (name, other) => [
      open({ timestamps: true }),
      send(0, hello(other), { timeBy: -900_000 }),
      wait(60),
      send(0, hello(name)),
      read(),
    ],
    "copies of inspected bytes differ",
  ),
  row("stale time stamp: the same bytes twice", (name) => [
    open({ timestamps: true }),
    send(0, hello(name), { timeBy: -900_000 }),
    wait(60),
    send(0, hello(name)),
    read(),
  ]),
  visibleDecoy("bad checksum", { badChecksum: true }),
  visibleDecoy("an MD5 signature option", { options: MD5 }),
  visibleDecoy("acknowledges what was never sent", { ackBy: 100_000 }),
  row(
    "acknowledges what is long past",
    opened((name, other) => [send(0, hello(other), { ackBy: -100_000 }), wait(60), send(0, hello(name))]),
    "the first acknowledgement stands for the SYN-ACK, so the decoy is read (ADR 0011)",
  ),
  visibleDecoy("no ACK flag", { flags: 8 }),
  visibleDecoy("urgent pointer", { flags: 0x38, urgent: 40 }),
  row(
    "out of the window",
    opened((name, other) => [send(1 << 20, hello(other)), wait(30), send(0, hello(name))]),
  ),
  row(
    "reset with a TTL too low, then data",
    opened((name) => [send(0, "", { flags: RST, ttl: 9 }), wait(30), send(0, hello(name))]),
    "the connection was ended by its client",
  ),
  row(
    "reset with a bad checksum",
    opened((name) => [send(0, "", { flags: RST, badChecksum: true }), wait(30), send(0, hello(name))]),
  ),
  row(
    "reset with a wrong sequence number",
    opened((name) => [send(777, "", { flags: RST }), wait(30), send(0, hello(name))]),
  ),
  row(
    "FIN with a TTL too low, then data",
    opened((name) => [send(0, "", { flags: FIN_ACK, ttl: 9 }), wait(30), send(0, hello(name))]),
    "the connection was ended by its client",
  ),
  row(
    "FIN with a bad checksum",
    opened((name) => [send(0, "", { flags: FIN_ACK, badChecksum: true }), wait(30), send(0, hello(name))]),
  ),
  row("data in the SYN", (name) => [
    open({ data: base64(hello(name)), blind: true, isn: 5000 }),
    wait(150),
    open({ isn: 5000 }),
    send(0, hello(name)),
    read(),
  ]),
  row("data without a SYN", (name) => [send(0, hello(name)), read(1, 400)], "no connection"),
  row(
    "the port of an allowed connection used again",
    (name) => [
      open({ isn: 1000 }),
      send(0, hello(ALLOWED)),
      read(),
      wait(200),
      send(hello(ALLOWED).length, "", { flags: RST }),
      wait(100),
      open({ isn: 9_000_000 }),
      send(0, hello(name)),
      read(2000),
    ],
    undefined,
    ONE_ANSWER,
  ),
  row(
    "fragments of 24 bytes",
    opened((name) => [send(0, hello(name), { fragments: 24 })]),
  ),
  row(
    "fragments of 24 bytes, last one first",
    opened((name) => [send(0, hello(name), { fragments: 24, reversed: true })]),
  ),
  row("the sequence number wraps", (name) => [open({ isn: 0xffffff90 }), ...pieces(hello(name), 30), read()]),
  row("a window of 60 bytes", (name) => [open({ window: 60 }), ...pieces(hello(name), 60), read()]),
];

describeTwins("TCP tricks before a hello", {
  stage: stageWith("et", [APP1]),
  rows: ROWS,
  ...{ pod: APP1, server: OUTSIDE.githubApi, port: 443, allowed: ALLOWED, denied: DENIED },
});
