import { describe, expect, test } from "vitest";
import { type Census, keyOf, Ledger } from "../../../src/agent/coverage/ledger.ts";
import { type Outlet, outletsOf } from "../../../src/agent/coverage/outlets.ts";
import { UNSEEN_LIMITS, UnseenWatch } from "../../../src/agent/coverage/unseen.ts";
import { endingOf } from "../../../src/agent/flow-ending.ts";
import type { ConntrackEntry, Tuple } from "../../../src/kernel/conntrack-entry.ts";
import type { CountedLink } from "../../../src/kernel/routing.ts";
import { parseAddress } from "../../../src/net/address.ts";

const address = (text: string) => parseAddress(text)!;

describe("where pods' packets come in", () => {
  const links = ["pod1 veth", "pod2 netkit", "cni0 bridge", "eth0 ", "host veth 6", "net veth 5", "lxc1 veth"]
    .concat(["lxc2 veth", "port veth", "tun0 tun"])
    .map((text, at): CountedLink => {
      const [name = "", kind = "", peer = "0"] = text.split(" ");
      const controller = name === "port" ? 3 : 0;
      return { index: at + 1, name, kind, controller, peer: Number(peer), received: 10 ** at };
    });
  const outlets = (pods: readonly (readonly number[])[]) =>
    outletsOf(new Map(pods.map((indices, at) => [at + 1, new Set(indices)])), links).map(
      ({ name, pods, received }) => `${name}: ${pods.join()} ${received}`,
    );

  test("by a link of its own; what comes by a bridge, hardware or a tunnel is not told apart", () => {
    expect(outlets([[1], [2], [3], [3], [4], [10], [99]])).toEqual(["pod1: 1 1", "pod2: 2 10"]);
  });

  test("by links that no route names, where routes lead to a pair of links of the node", () => {
    // Neither ports of bridges nor the pair itself, but also those of pods with routes that nobody asked about.
    expect(outlets([[1], [5], [5]])).toEqual(["pod1: 1 1", `the pods' interfaces: 2,3 ${10 + 10 ** 6 + 10 ** 7}`]);
    expect(outlets([[5]])).toEqual([`the pods' interfaces: 1 ${1 + 10 + 10 ** 6 + 10 ** 7}`]);
  });

  test("by both, where families differ", () => {
    expect(outlets([[1, 2], [3]])).toEqual(["pod1: 1 1", "pod2: 1 10"]);
  });
});

describe("what conntrack knows of pods", () => {
  const pods = new Map([
    [keyOf(address("10.0.0.1")), 1],
    [keyOf(address("10.0.0.2")), 2],
    [keyOf(address("fd00::1")), 1],
  ]);
  const node = new Set(["192.0.2.11", "10.0.0.254"].map((text) => keyOf(address(text))));

  /** `A>B N/M`: N packets from A to B, M back. */
  function entry(text: string): ConntrackEntry {
    const [ends = "", packets = ""] = text.split(" ");
    const [from = "", to = ""] = ends.split(">");
    const [there = 0, back = 0] = packets.split("/").map(Number);
    const rest = { protocol: 6, sourcePort: 1, destinationPort: 2, icmpId: 0, icmpType: 0, icmpCode: 0 };
    const tuple = (source: string, destination: string): Tuple => {
      return { source: address(source), destination: address(destination), ...rest };
    };
    return {
      ...{ id: 1, original: tuple(from, to), reply: tuple(to, from), mark: 0, status: 2, tcpState: 3 },
      ...{ originalCounters: { packets: there, bytes: 0 }, replyCounters: { packets: back, bytes: 0 } },
      ...{ start: 0, stop: 0, timeout: 9 },
    };
  }
  const dump = (entries: readonly ConntrackEntry[]) => ({
    *dumpInPieces(family: string, each: (entry: ConntrackEntry) => void) {
      for (const one of entries) if ((one.original.source.w2 === 0xffff) === (family === "ipv4")) each(one);
      yield;
    },
  });
  const ledger = (most?: number) => {
    const made = new Ledger(most);
    made.watch(pods, node);
    return {
      walk: async (...texts: readonly string[]) => {
        await made.walk(dump(texts.map((text) => entry(text))));
        return taken(made);
      },
      ended: (text: string) => made.ended(endingOf(entry(text))),
      watch: (some: ReadonlyMap<string, number>) => made.watch(some, node),
    };
  };
  const taken = (made: Ledger) => {
    const { forwarded, toNode } = made.take();
    return [Object.fromEntries(forwarded), Object.fromEntries(toNode)];
  };
  const LONG = "10.0.0.1>203.0.113.7";

  test("packets that they sent, as client and as server, by who was at the other end", async () => {
    expect(
      await ledger().walk(
        "10.0.0.1>203.0.113.7 5/9",
        "fd00::1>2001:db8::7 2/0",
        "10.0.0.9>10.0.0.2 4/3",
        "10.0.0.1>10.0.0.2 10/20",
        "192.0.2.11>10.0.0.2 6/7",
        "10.0.0.2>10.0.0.254 8/8",
        "10.0.0.9>203.0.113.7 50/50",
      ),
    ).toEqual([{ 1: 17, 2: 23 }, { 2: 15 }]);
  });

  test("of a flow that goes on only what came since the last walk", async () => {
    const { walk } = ledger();
    expect(await walk(`${LONG} 1000/9`, "10.0.0.2>10.0.0.254 5000/1")).toEqual([{ 1: 1000 }, { 2: 5000 }]);
    expect(await walk(`${LONG} 1007/9`, "10.0.0.2>10.0.0.254 5001/1")).toEqual([{ 1: 7 }, { 2: 1 }]);
    // With the same ports, a moment later.
    expect(await walk(`${LONG} 3/9`)).toEqual([{ 1: 0 }, {}]);
  });

  test("of a flow that ended what came since, and all of what began since", async () => {
    const { walk, ended } = ledger();
    await walk(`${LONG} 1000/9`);
    ended(`${LONG} 1010/9`);
    // Answered by a reset: conntrack lets go of it at once.
    for (let i = 0; i < 3; i++) ended("203.0.113.7>10.0.0.1 1/1");
    ended("10.0.0.9>203.0.113.7 50/50");
    expect(await walk(`${LONG} 2/0`)).toEqual([{ 1: 15 }, {}]);
  });

  test("of flows that find no room all that they ever had, and nothing is kept of a pod that nobody asks for any more", async () => {
    const { walk, watch } = ledger(1);
    await walk(`${LONG} 10/0`, "10.0.0.2>203.0.113.7 10/0");
    expect(await walk(`${LONG} 11/0`, "10.0.0.2>203.0.113.7 11/0")).toEqual([{ 1: 1, 2: 11 }, {}]);
    watch(new Map([[keyOf(address("10.0.0.2")), 2]]));
    expect(await walk(`${LONG} 12/0`, "10.0.0.2>203.0.113.7 12/0")).toEqual([{ 2: 12 }, {}]);
    expect(await walk("10.0.0.2>203.0.113.7 13/0")).toEqual([{ 2: 1 }, {}]);
  });

  test("where nothing is counted every flow counts for many", async () => {
    const { walk, ended } = ledger();
    for (let i = 0; i < 2; i++) expect(await walk(`${LONG} 0/0`)).toEqual([{ 1: 1_000 }, {}]);
    expect(await walk("203.0.113.7>10.0.0.1 0/0")).toEqual([{ 1: 1_000 }, {}]);
    ended(`${LONG} 0/0`);
    expect(await walk()).toEqual([{ 1: 1_000 }, {}]);
  });
});

describe("pods that are not seen", () => {
  const NONE = { refused: () => 0, flows: () => 0 };

  /**
   * Window by window: what came from the pod, what conntrack has of it since the last one and of its flows with the node, and flows that were decided; `!` where
   * something was refused, `?` where news of endings was lost.
   */
  function watch(...windows: readonly string[]): string {
    const unseen = new UnseenWatch();
    const { windowMs } = UNSEEN_LIMITS;
    let received = 1_000_000;
    let denied = 0;
    let flows = 0;
    const signs = { refused: () => denied, flows: () => flows };
    let said = "";
    const outlet = (): Outlet => ({ name: "pod1", own: true, pods: [7], received });
    unseen.look([outlet()], signs, 0);
    for (const [at, window] of windows.entries()) {
      const now = (at + 1) * windowMs;
      const [sent = 0, forwarded = 0, toNode = 0, decided = 0] = window.replace(/[!?]/, "").split(" ").map(Number);
      received += sent;
      flows += decided;
      if (window.includes("!")) denied = now;
      const census: Census = { forwarded: new Map([[7, forwarded]]), toNode: new Map([[7, toNode]]) };
      expect(unseen.isDue(now - 1)).toBe(false);
      unseen.judge(unseen.look([outlet()], signs, now), census, [outlet()], signs, !window.includes("?"), now);
      said += unseen.whyUnseen(7) === null ? "." : "N";
    }
    return said;
  }

  test.each<readonly [string, readonly string[], string]>([
    ["much of which nothing is known", ["500", "500", "500", "500", "500"], "...NN"],
    ["much of which next to nothing is known", ["5000 9", "5000 9", "5000 9", "5000 9"], "...N"],
    ["much of which a part is known", ["500", "500 50", "500", "500", "500", "500"], "......"],
    [
      "much of which all is known since the beginning of its flows, and nothing since",
      ["500 900000", "500", "500", "500"],
      "...N",
    ],
    ["little", ["99", "99", "99", "99", "99"], "....."],
    ["much, pauses, and more", ["500", "3", "500", "0", "500", "7", "500"], "......N"],
    [
      "much after a long silence",
      ["500", "500", "500", "0", "0", "0", "0", "0", "0", "0", "500", "500"],
      "...........N",
    ],
    ["what is denied all the time", ["500!", "500!", "500!", "500!"], "...."],
    ["what is denied now and then", ["500!", "500", "500", "500!", "500", "500", "500"], "......N"],
    ["what goes to the node, or answers it", Array<string>(5).fill("500 0 450"), "....."],
    ["more than goes to the node", Array<string>(4).fill("5000 0 450"), "...N"],
    ["one long flow to the node beside it", ["500 0 900000", "500 0 5", "500 0 5", "500 0 5"], "...N"],
    ["what others drop after it was decided", ["500 0 0 50", "500 0 0 500"], ".."],
    ["what comes to the stack now and then", Array<string>(4).fill("5000 3 0 3"), "...N"],
    ["what is seen again", ["500", "500", "500", "500", "500 500", "500"], "...N.."],
    ["what is denied at last", ["500", "500", "500", "500", "500 0 0 90!", "500", "500 0 0 90"], "...NNN."],
    ["what nobody could tell of", ["500", "500?", "500?", "500?", "500?"], "....."],
  ])("%s: %j is %s", (_, windows, said) => {
    expect(watch(...windows)).toBe(said);
  });

  test("a pod that was seen is asked about again after ten minutes", () => {
    const { windowMs, believedMs } = UNSEEN_LIMITS;
    const quiet = Array.from({ length: believedMs / windowMs }, () => "500");
    expect(watch("500", "500 500", ...quiet, "500", "500", "500")).toMatch(/^\.+N$/);
  });

  test("many pods behind interfaces that cannot be told apart are reported together", () => {
    const unseen = new UnseenWatch();
    const outlet = (received: number): Outlet => ({ name: "the pods' interfaces", own: false, pods: [1, 2], received });
    for (let at = 0; at < 5; at++) {
      const now = at * UNSEEN_LIMITS.windowMs;
      const outlets = [outlet(at * 1_000)];
      const asked = unseen.look(outlets, NONE, now);
      unseen.judge(asked, { forwarded: new Map([[2, 5]]), toNode: new Map() }, outlets, NONE, true, now);
    }
    expect(unseen.whyUnseen(1)).toMatch(/what comes in by the pods' interfaces is not known/);
    expect(unseen.whyUnseen(2)).toBe(unseen.whyUnseen(1));
    expect(unseen.whyUnseen(3)).toBeNull();
  });

  test("what was counted of a pod that sent little meanwhile is not held against it later", () => {
    const unseen = new UnseenWatch();
    // One is asked about in each window, the other in every second.
    const links = (at: number): Outlet[] => [
      { name: "pod1", own: true, pods: [1], received: at * 500 },
      { name: "pod2", own: true, pods: [2], received: Math.ceil(at / 2) * 500 + Math.floor(at / 2) * 99 },
    ];
    const asked: number[] = [];
    for (let at = 0; at < 9; at++) {
      const now = at * UNSEEN_LIMITS.windowMs;
      const suspects = unseen.look(links(at), NONE, now);
      asked.push(suspects.length);
      const forwarded = new Map([[2, at % 2 === 1 ? 50 : 99]]);
      unseen.judge(suspects, { forwarded, toNode: new Map() }, links(at), NONE, true, now);
    }
    expect(asked).toEqual([0, 2, 1, 2, 1, 1, 1, 1, 1]);
    expect([unseen.whyUnseen(1) === null, unseen.whyUnseen(2)]).toEqual([false, null]);
  });

  test("a pod with a denial now and then does not speak for all that share its links, one that is denied most does", () => {
    const sharing = (denials: number) => {
      const unseen = new UnseenWatch();
      for (let at = 0; at < 5; at++) {
        const now = at * UNSEEN_LIMITS.windowMs;
        const outlet: Outlet = { name: "the pods' interfaces", own: false, pods: [1, 2], received: at * 1_000 };
        const signs = { refused: (pod: number) => (pod === 2 ? at * denials : 0), flows: () => 0 };
        const census = { forwarded: new Map(), toNode: new Map() };
        unseen.judge(unseen.look([outlet], signs, now), census, [outlet], signs, true, now);
      }
      return unseen.whyUnseen(1);
    };
    expect(sharing(1)).not.toBeNull();
    expect(sharing(100)).toBeNull();
  });

  test("another pod behind an interface of the same name begins anew, and so does one whose counter does", () => {
    const unseen = new UnseenWatch();
    const { windowMs } = UNSEEN_LIMITS;
    const look = (at: number, pod: number, received: number) =>
      unseen.look([{ name: "pod1", own: true, pods: [pod], received }], NONE, at * windowMs).length;
    expect([look(0, 1, 0), look(1, 1, 500), look(2, 2, 900), look(3, 2, 950), look(4, 2, 10)]).toEqual([0, 1, 0, 0, 0]);
  });
});
