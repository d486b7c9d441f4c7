import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { renderRefill, renderRuleset } from "../../src/kernel/ruleset.ts";
import { cleanUp, lowerStage, NODE, raiseStage, ruleset, sh, spec } from "../support/kernel-stage.ts";

beforeAll(raiseStage);

afterEach(cleanUp);

afterAll(lowerStage);

/** The number that the table got when it was made. */
function tableNumber(): string {
  return /^table inet sallyport \{ # handle (\d+)$/m.exec(sh(NODE, "nft -a list table inet sallyport"))![1]!;
}

const told = () => /timeout \S+/.exec(sh(NODE, "nft list set inet sallyport told4"))?.[0];

/** As an agent of another version would have it, in which SYNs went on unasked for longer. */
const older = () => renderRuleset(spec).replaceAll("timeout 100ms", "timeout 5s");

function apply(text: string): string {
  return sh(NODE, `nft -f - 2>&1 <<'END' || true\n${text}END`);
}

test("a table of the same shape is refilled: none of its hooks goes", async () => {
  await ruleset.install(spec);
  const made = tableNumber();
  await ruleset.refill({ ...spec, other: true, generation: 1 });
  expect(tableNumber()).toBe(made);
  await ruleset.refill(spec);
  expect(tableNumber()).toBe(made);
});

test("one whose sets are declared otherwise is refused by the refill, whatever the kernel makes of that, and replaced", async () => {
  expect(apply(older().replace(/shape_\w+/, "shape_of_another_version"))).toBe("");
  expect(told()).toBe("timeout 5s");
  const made = tableNumber();
  expect(apply(renderRefill(spec))).toMatch(/No such file or directory/);
  expect([tableNumber(), told()]).toEqual([made, "timeout 5s"]);
  await ruleset.refill(spec);
  expect(tableNumber()).not.toBe(made);
  expect(told()).toBe("timeout 100ms");
});

test("so is one from before there was a word for the shape", async () => {
  expect(apply(older().replace(/ *chain shape_\w+ \{\s*\}\n/, ""))).toBe("");
  const made = tableNumber();
  await ruleset.refill(spec);
  expect(tableNumber()).not.toBe(made);
  expect(await ruleset.verify()).toBe(true);
});
