import { type ProgramResult, runProgram } from "../../kernel/program.ts";
import { TABLE } from "../../kernel/ruleset.ts";
import { renderBypass } from "../../kernel/ruleset-sets.ts";
import type { Workload } from "../../model/workload.ts";
import { parseAddress } from "../../net/address.ts";
import { type Cidr, parseCidr } from "../../net/cidr.ts";
import { rememberedPods } from "../cluster/memory.ts";
import { asideUntil, type Bypass, bypassedRanges } from "./bypass.ts";

/**
 * Has the kernel let pass what `bypasses` say, where no agent does it: pods of these addresses are asked about in a queue that lets pass when
 * nobody listens, and the kernel forgets each address when its time is over. Nothing of it is recorded. Returns how many ranges that are;
 * null where there are no rules, so that nothing is denied here anyway. @throws Error with nft's first line
 */
export async function bypassWithoutAgent(folder: string, bypasses: readonly Bypass[]): Promise<number | null> {
  const table = TABLE.split(" ");
  const listing = await runProgram(["nft", "-j", "list", "table", ...table]);
  if (listing.status !== 0) return null;
  const known = setElements(listing.stdout);
  const podRanges = ["pod_ranges4", "pod_ranges6"].flatMap((name) => known.get(name) ?? []);
  const pods = rememberedPods(folder);
  const addresses = ["workloads4", "workloads6"].flatMap((name) => known.get(name) ?? []);
  // Of pods whose namespace nobody knows here: they are covered by what covers all.
  const others = { namespace: "", addresses: addresses.map(({ base }) => base) } satisfies Covered;
  const covers = bypasses.some(({ scope }) => scope !== "Namespace");
  const bypass = bypassedRanges(bypasses, podRanges, covers ? [...pods, others] : pods);
  const sets = { bypass, asideUntil: asideUntil(bypasses) };
  const done = await runProgram(["nft", "-f", "-"], renderBypass(TABLE, sets));
  if (done.status !== 0) throw new Error(firstLine(done));
  return bypass.length;
}

type Covered = Pick<Workload, "namespace" | "addresses">;

function firstLine({ stderr }: ProgramResult): string {
  return stderr.trim().split("\n")[0] ?? "nft failed";
}

interface ListedSet {
  readonly set?: { readonly name: string; readonly elem?: readonly unknown[] };
}

/** Addresses and prefixes of all sets of a listing; what nft shows as a range of two ends is left out. */
function setElements(json: string): ReadonlyMap<string, readonly Cidr[]> {
  const { nftables } = JSON.parse(json) as { nftables: readonly ListedSet[] };
  return new Map(
    nftables.flatMap(({ set }) => (set === undefined ? [] : [[set.name, (set.elem ?? []).flatMap(element)] as const])),
  );
}

function element(value: unknown): Cidr[] {
  const prefix = (value as { prefix?: { addr?: string; len?: number } } | null)?.prefix;
  const text = typeof value === "string" ? value : prefix === undefined ? "" : `${prefix.addr}/${prefix.len}`;
  if (parseAddress(text.split("/")[0] ?? "") === null) return [];
  const read = parseCidr(text.includes("/") ? text : text.includes(":") ? `${text}/128` : `${text}/32`);
  return read.ok ? [read.cidr] : [];
}
