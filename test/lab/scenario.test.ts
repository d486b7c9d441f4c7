import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Outcome, paperRows, type Row, translatedRows, tryRows } from "../../examples/two-apps/rows.ts";
import { STORIES } from "../../examples/two-apps/stories.ts";
import { World } from "../../examples/two-apps/world.ts";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { expectRow, keepWarm, untilWarm, warmGroups } from "../support/warm-rows.ts";

/**
 * The shared case table on real traffic: every row that `sallyport test` decides on paper is tried with a real client, over
 * IPv4 and IPv6, and so are the rows whose destination the node translates.
 */
const ROWS = [...paperRows(), ...translatedRows()];
const title = (row: Row): string =>
  `${row.name}: ${row.from} ${row.action === "Allow" ? "reaches" : "does not reach"} ${row.to}${row.ip === undefined ? "" : ` at ${row.ip}`}${row.family === undefined ? "" : ` (IPv${row.family})`}`;

let world: World;
const outcomes = new Map<Row, Outcome>();

beforeAll(async () => {
  world = await World.up({ name: `sc${process.pid % 100_000}` });
  await tryRows(world, ROWS, null, (_, tried) => {
    for (const outcome of tried) outcomes.set(outcome.row, outcome);
  });
}, 240_000);

afterAll(() => world?.down());

describe("two apps", () => {
  test.each(ROWS.map((row) => [title(row), row] as const))("%s", (_, row) => {
    const outcome = outcomes.get(row);
    expect(outcome?.problem, JSON.stringify({ saw: outcome?.result.saw, record: outcome?.record })).toBeNull();
  });

  test("no request that was denied was answered outside", async () => {
    const answered = await world.lab.outsideLog();
    const sites = new Set(answered.map(({ site }) => site));
    expect([...sites].filter((site) => site.endsWith("evil.example") || site === "default")).toEqual([]);
  });

  test("no byte of payload arrived at an address that nobody may reach", async () => {
    const forbidden = new Set<string>([
      OUTSIDE.evil.ipv4,
      OUTSIDE.evil.ipv6,
      OUTSIDE.metadata.ipv4,
      OUTSIDE.metadata.ipv6,
    ]);
    const arrivals = await world.lab.outsideSaw();
    const payload = arrivals.filter(({ address, protocol, withPayload, packets }) => {
      return forbidden.has(address) && (protocol === "tcp" ? withPayload > 0 : packets > 0);
    });
    expect(payload).toEqual([]);
  });
});

describe("again, while the kernel does by itself what it was allowed to a moment ago", () => {
  const LIMIT_MS = 180_000;

  // docs/adr/0014-carried-flows.md: flows that their address decides.
  test(
    "what goes where it opens flows: what is allowed there is allowed, and what is not is denied",
    async () => {
      const decided = ({ record }: Outcome) => record?.reason === "RuleMatched" && record.application === "Unknown";
      const groups = warmGroups(ROWS, outcomes, (row, outcome) => /^(tcp|udp):/.test(row.to) && decided(outcome));
      expect(groups.length).toBeGreaterThan(1);
      for (const { warmed, rows } of groups) {
        await untilWarm(world, warmed.from, "carried", () => expectRow(world, warmed, title(warmed)));
        for (const row of rows) await expectRow(world, row, title(row));
        const [{ hostname }, others] = [new URL(warmed.to), ROWS.filter(({ from }) => from === warmed.from)];
        const beside = others.filter((row) => row.action === "Deny" && new URL(row.to).hostname === hostname);
        for (const row of beside) await expectRow(world, row, title(row));
      }
    },
    LIMIT_MS,
  );

  // docs/adr/0017-told-syns.md: connections that only a name decides.
  test(
    "what goes where it lets SYNs go: the same",
    async () => {
      const named = ["TLS", "HTTP"];
      const groups = warmGroups(
        ROWS,
        outcomes,
        (row, { record }) => /^https?:/.test(row.to) && named.includes(record?.application ?? ""),
      );
      expect(groups.some(({ rows }) => rows.some(({ action }) => action === "Deny"))).toBe(true);
      for (const group of groups) {
        const stop = keepWarm(world, group);
        try {
          await untilWarm(world, group.warmed.from, "told", () => new Promise((resolve) => setTimeout(resolve, 50)));
          for (const row of [...group.rows, ...group.rows]) await expectRow(world, row, title(row));
        } finally {
          stop();
        }
      }
    },
    LIMIT_MS,
  );
});

describe("over time", () => {
  test.each(STORIES.map((story) => [`${story.name}: ${story.expected}`, story] as const))("%s", async (_, story) => {
    const end = await story.tell(world);
    expect(end.ok, end.saw).toBe(true);
  });
});
