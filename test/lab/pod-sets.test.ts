import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Ruleset } from "../../src/kernel/nftables.ts";
import { runProgram } from "../../src/kernel/program.ts";
import { address, cleanUp, lowerStage, NODE, raiseStage, ruleset, sh, spec, within } from "../support/kernel-stage.ts";

let programs: string[];
/** Somebody else's command, when our rules have just been put in place. */
let meanwhile: string | null = null;
let own: Ruleset;

beforeAll(async () => {
  await raiseStage();
  ruleset.close();
  own = await within(NODE, () => {
    return new Ruleset(async (command, input, timeout) => {
      programs.push(command.join(" "));
      const result = await runProgram(["ip", "netns", "exec", NODE, ...command], input, timeout);
      if (meanwhile !== null && command[0] === "nft" && command[1] === "-f") {
        sh(NODE, meanwhile);
        meanwhile = null;
      }
      return result;
    });
  });
});

afterEach(cleanUp);

afterAll(async () => {
  own.close();
  await lowerStage();
});

function listed(set: string): string[] {
  const { nftables } = JSON.parse(sh(NODE, `nft -j list set inet sallyport ${set}`)) as {
    nftables: { set?: { elem?: string[] } }[];
  };
  return nftables.flatMap((item) => item.set?.elem ?? []).sort();
}

test("pods come and go without a program, and the watch over the rules knows what they left", async () => {
  programs = [];
  await own.install(spec);
  programs = [];
  const pods = Array.from({ length: 100 }, (_, n) => address(`10.244.1.${n + 1}`));
  const workloads = [...spec.sets.workloads, ...pods, address("fd00:244::77")];
  const sets = { ...spec.sets, workloads, observed: pods.slice(0, 50), podInterfaces: ["veth1", "veth0123456789a"] };
  await own.updateSets(sets);
  expect(listed("workloads4")).toHaveLength(100 + spec.sets.workloads.filter(({ w2 }) => w2 === 0xffff).length);
  expect(listed("workloads6")).toContain("fd00:244::77");
  expect(listed("observed4")).toHaveLength(50);
  expect(listed("pod_interfaces")).toEqual(["veth0123456789a", "veth1"]);
  expect(await own.verify()).toBe(true);
  expect(programs).toEqual([]);
  await own.updateSets(spec.sets);
  expect(listed("pod_interfaces")).toEqual([...spec.sets.podInterfaces].sort());
  expect(await own.verify()).toBe(true);
  expect(programs).toEqual([]);
});

test("a change by somebody else before or after ours does not hide behind it", async () => {
  programs = [];
  await own.install(spec);
  const more = { ...spec.sets, workloads: [...spec.sets.workloads, address("10.244.1.1")] };
  sh(NODE, "nft flush chain inet sallyport from_pod");
  await own.updateSets(more);
  expect(listed("workloads4")).toContain("10.244.1.1");
  expect(await own.verify()).toBe(false);
  expect(await own.restore()).toBe(true);
  sh(NODE, "nft add element inet sallyport observed4 { 10.244.1.1 }");
  await own.updateSets(spec.sets);
  expect(await own.restore()).toBe(true);
  expect(listed("observed4")).not.toContain("10.244.1.1");
});

test.each([
  "nft flush ruleset",
  "nft delete element inet sallyport workloads4 { 10.244.0.2 }",
  "nft add element inet sallyport observed4 { 10.244.0.2 }",
])("`%s` right after ours is found, and mended", async (command) => {
  programs = [];
  meanwhile = command;
  await own.install(spec);
  expect(await own.verify()).toBe(false);
  expect(await own.restore()).toBe(true);
  expect(await own.verify()).toBe(true);
  meanwhile = command;
  await own.updateSets({ ...spec.sets, internalEndpoints: [], resolvers: [] });
  expect(await own.restore()).toBe(true);
  expect(await own.restore()).toBe(false);
  expect(listed("observed4")).toEqual(["10.244.0.3"]);
  expect(listed("workloads4")).toContain("10.244.0.2");
});

test("where something is missing all of it is installed again", async () => {
  programs = [];
  await own.install(spec);
  const more = { ...spec.sets, workloads: [...spec.sets.workloads, address("10.244.1.1")] };
  sh(NODE, "nft delete table inet sallyport");
  await own.updateSets(more);
  expect(listed("workloads4")).toContain("10.244.1.1");
  sh(NODE, "nft flush set inet sallyport workloads4");
  await own.updateSets(spec.sets);
  expect(await own.verify()).toBe(true);
  expect(listed("workloads4")).not.toContain("10.244.1.1");
  await own.remove();
});
