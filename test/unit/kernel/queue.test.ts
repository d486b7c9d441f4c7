import { describe, expect, test } from "vitest";
import { inPlace, markLayout, stateOf, withWord, wordOf } from "../../../src/kernel/marks.ts";
import { readMessages } from "../../../src/kernel/netlink-message.ts";
import { EventFd, Poller } from "../../../src/kernel/poller.ts";
import { parseQueueStatistics } from "../../../src/kernel/queue-statistics.ts";
import { VerdictBuffer } from "../../../src/kernel/queue-verdicts.ts";

function buffer(answers: number[] = []) {
  const sent: Buffer[] = [];
  const counters = { received: 0, refusedVerdicts: 0, failedFlushes: 0, lostVerdicts: 0, malformed: 0 };
  const send = (bytes: Uint8Array, length: number) => {
    const error = answers.shift() ?? 0;
    if (error === 0) sent.push(Buffer.from(bytes.subarray(0, length)));
    return error;
  };
  return { sent, counters, verdicts: new VerdictBuffer(5100, { send }, counters) };
}

describe("verdicts", () => {
  test("travel together, each a message of its own", () => {
    const { sent, verdicts } = buffer();
    verdicts.add(1, true, 0x4003, null);
    verdicts.add(2, false, null, null);
    verdicts.add(3, true, 1, new Uint8Array([0x45, 1, 2, 3, 4]));
    verdicts.flush();
    verdicts.flush();
    expect(sent.map((bytes) => bytes.toString("hex"))).toEqual([
      "28000000010301000000000000000000000013ec" +
        "0c00020000000001" +
        "00000001" +
        "0800030000004003" +
        "20000000010301000000000000000000000013ec" +
        "0c00020000000000" +
        "00000002" +
        "34000000010301000000000000000000000013ec" +
        "0c00020000000001" +
        "00000003" +
        "0800030000000001" +
        "09000a0045010203" +
        "04000000",
    ]);
  });

  test("a full buffer is sent by itself; every verdict is sent once", () => {
    const { sent, verdicts } = buffer();
    for (let id = 0; id < 10; id++) verdicts.add(id, true, 1, new Uint8Array(40_000));
    verdicts.flush();
    const messages = sent.flatMap((bytes) =>
      readMessages(bytes, bytes.length).map((message) => bytes.readUInt32BE(message.start + 12)),
    );
    expect(sent.length).toBe(5);
    expect(messages).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test("a replacement that is no IP packet becomes a drop", () => {
    const { sent, verdicts } = buffer();
    verdicts.add(1, true, null, new Uint8Array(0x10000));
    verdicts.flush();
    expect(sent[0]!.subarray(20).toString("hex")).toBe("0c0002000000000000000001");
  });

  test("a failure is tried again, then counted", () => {
    const { sent, counters, verdicts } = buffer([105, 0, 105, 105, 105]);
    verdicts.add(1, true, null, null);
    verdicts.flush();
    expect([sent.length, counters.failedFlushes, counters.lostVerdicts]).toEqual([1, 1, 0]);
    verdicts.add(2, true, null, null);
    verdicts.flush();
    expect([sent.length, counters.failedFlushes, counters.lostVerdicts]).toEqual([1, 4, 1]);
  });
});

test("statistics of one queue among several", () => {
  const text =
    "  100  12345     3 2 65535     4     5       99  1\n 5100    777    10 2 65535     0     2      12  1\n";
  expect(parseQueueStatistics(text, 5100)).toEqual({ waiting: 10, queueDropped: 0, userDropped: 2 });
  expect(parseQueueStatistics(text, 10)).toBeNull();
  expect(parseQueueStatistics("", 5100)).toBeNull();
});

describe("marks", () => {
  const layout = markLayout(0x3f00_0000);

  test("words lie under the mask, other bits stay", () => {
    expect(withWord(layout, 0xc000_4000, 0x21)).toBe(0xe100_4000);
    expect(wordOf(layout, 0xe100_4000)).toBe(0x21);
    expect(inPlace(markLayout(0xfc00_0000), 0x20)).toBe(0x8000_0000);
  });

  test("a state is read without its neighbours", () => {
    expect(stateOf(layout, 0x2200_0001)).toBe(2);
    expect(stateOf(layout, 0xc700_0001)).toBe(7);
    expect(stateOf(layout, 0xc000_0007)).toBe(0);
  });

  test.each([0, 0x1f, 0x7f, 0x5f, 0x8000_001f])("mask %i is refused", (mask) => {
    expect(() => markLayout(mask)).toThrow("six bits");
  });
});

test("an eventfd wakes a poller, once", () => {
  const event = new EventFd();
  const other = new EventFd();
  const poller = new Poller([other.fd, event.fd]);
  expect(poller.wait(0)).toBe(0);
  event.signal();
  event.signal();
  expect(poller.wait(1000)).toBe(2);
  expect(event.drain()).toBe(true);
  expect(event.drain()).toBe(false);
  expect(poller.wait(0)).toBe(0);
  event.close();
  other.close();
});
