import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Floods } from "../../../src/agent/floods.ts";
import type { Logger } from "../../../src/agent/log.ts";
import type { Workload } from "../../../src/model/workload.ts";
import { parseAddress } from "../../../src/net/address.ts";

const WILD = parseAddress("10.244.1.2")!;
const workload = { id: 7, namespace: "app-ns", name: "wild", addresses: [WILD] } as unknown as Workload;

let kernel: Map<string, number>;
let lines: string[];
let floods: Floods;

beforeEach(() => {
  vi.useFakeTimers();
  kernel = new Map();
  lines = [];
  const warn = ({ event, workload: name, packets = "", perSecond = "" }: Record<string, unknown>) =>
    lines.push([event, name, perSecond, packets].filter((word) => word !== "").join(" "));
  floods = new Floods(() => Promise.resolve(new Map(kernel)), { warn } as unknown as Logger);
  floods.setWorkloads([workload]);
});

afterEach(() => {
  floods.close();
  vi.useRealTimers();
});

const seconds = (count: number) => vi.advanceTimersByTimeAsync(count * 1000);

describe("a flood", () => {
  test("is told of by the workload's name, and then what was dropped in each interval", async () => {
    floods.onPoliced(WILD, 16_000);
    kernel.set("10.244.1.2", 500);
    await seconds(10);
    kernel.set("10.244.1.2", 700);
    await seconds(10);
    expect(lines).toEqual([
      "flood-policed app-ns/wild 16000",
      "flood-dropped app-ns/wild 500",
      "flood-dropped app-ns/wild 200",
    ]);
    expect(floods.policed).toBe(1);
    expect([...(await floods.dropped())]).toEqual([["app-ns/wild", 700]]);
  });

  test("leaves a sign on its workload with all that is said or dropped, and on no other", async () => {
    const signs = () => floods.signsOf(7);
    expect(signs()).toBe(0);
    floods.onPoliced(WILD, 16_000);
    expect(signs()).toBe(1);
    kernel.set("10.244.1.2", 500);
    await seconds(10);
    expect(signs()).toBe(501);
    floods.onCrowding(WILD, 90_000, 262_144, false);
    floods.onBarred([7]);
    expect([signs(), floods.signsOf(8)]).toEqual([503, 0]);
  });

  test("of conntrack by nobody's pods is told of once for each time", () => {
    floods.onUnknownCrowding(90_000, 262_144, true);
    floods.onUnknownCrowding(91_000, 262_144, false);
    expect(lines).toEqual(["conntrack-crowded (unknown)"]);
    expect(floods.crowding).toBe(1);
  });

  test("that is over is asked about no more, and its count stays", async () => {
    floods.onPoliced(WILD, 16_000);
    kernel.set("10.244.1.2", 500);
    await seconds(100);
    kernel.clear();
    await seconds(100);
    expect(lines).toHaveLength(2);
    expect([...(await floods.dropped())]).toEqual([["app-ns/wild", 500]]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("of flows is told of when it begins, by what conntrack holds", async () => {
    floods.onCrowding(WILD, 90_000, 262_144, true);
    floods.onCrowding(WILD, 91_000, 262_144, false);
    kernel.set("10.244.1.2", 500);
    await seconds(10);
    expect(lines.map((line) => line.split(" ").slice(0, 2).join(" "))).toEqual([
      "conntrack-crowded app-ns/wild",
      "flood-dropped app-ns/wild",
    ]);
    expect([floods.crowding, floods.policed]).toEqual([1, 0]);
  });

  test("goes on being counted when the rules are installed anew", async () => {
    floods.onPoliced(WILD, 16_000);
    kernel.set("10.244.1.2", 500);
    await floods.dropped();
    kernel.set("10.244.1.2", 20);
    expect([...(await floods.dropped())]).toEqual([["app-ns/wild", 520]]);
  });

  test("of many pods takes few lines", async () => {
    floods.onPoliced(WILD, 16_000);
    const others = Array.from({ length: 40 }, (_, index) => ({
      namespace: "app-ns",
      name: `pod-${index}`,
      addresses: [parseAddress(`10.244.2.${index}`)!],
    }));
    floods.setWorkloads(others as unknown as Workload[]);
    for (let index = 0; index < 40; index++) kernel.set(`10.244.2.${index}`, 100 + index);
    await seconds(10);
    expect(lines.slice(1)).toHaveLength(9);
    expect(lines[1]).toBe("flood-dropped app-ns/pod-39 139");
    const rest = 32 * 100 + (31 * 32) / 2;
    expect(lines.at(-1)).toBe(`flood-dropped (other) ${rest}`);
  });
});
