import { expect, test } from "vitest";
import { missingFeatures } from "../../../src/kernel/rule-features.ts";

const kernel =
  (lacks: RegExp) =>
  (argv: readonly string[], input = "") => {
    expect(argv.slice(0, 2)).toEqual(["nft", "-c"]);
    // A base chain would take what waits in every queue of the namespace with it.
    expect(input).not.toContain("hook");
    return Promise.resolve({ status: lacks.test(input) ? 1 : 0, stdout: "", stderr: "Error: Could not process rule" });
  };

test("a kernel that has all lacks nothing", async () => {
  expect(await missingFeatures(kernel(/nothing of it/) as never)).toEqual([]);
});

test.each([
  ["log group", "nfnetlink_log"],
  ["limit rate", "Linux 5.7"],
  ["fib", "nft_fib_inet"],
])("one without `%s` is told what it needs", async (rule, needs) => {
  const missing = await missingFeatures(kernel(new RegExp(rule)) as never);
  expect(missing).toHaveLength(1);
  expect(missing[0]).toContain(needs);
});
