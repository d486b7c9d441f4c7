import { expect, test } from "vitest";
import {
  everyPort,
  formatPorts,
  portsContain,
  portsCover,
  protocolName,
  SCTP,
  TCP,
  UDP,
} from "../../../src/net/ports.ts";

test.each([
  [{ protocol: TCP, from: 443, to: 443 }, "TCP 443"],
  [{ protocol: UDP, from: 1000, to: 2000 }, "UDP 1000-2000"],
  [everyPort(SCTP), "SCTP"],
  [everyPort(1), "ICMP"],
  [everyPort(0), "Any"],
  [everyPort(47), "47"],
])("%j is written as %s", (range, text) => {
  expect(formatPorts(range)).toBe(text);
});

test("a range holds its ends, of its protocol", () => {
  const range = { protocol: TCP, from: 10, to: 20 };
  expect([9, 10, 20, 21].map((port) => portsContain(range, TCP, port))).toEqual([false, true, true, false]);
  expect(portsContain(range, UDP, 15)).toBe(false);
  expect(portsContain(everyPort(0), 47, 0)).toBe(true);
  expect(portsCover(everyPort(0), range)).toBe(true);
  expect(portsCover(range, everyPort(TCP))).toBe(false);
  expect(protocolName(58)).toBe("ICMP");
});
