import { addressToBytes, formatAddress, parseAddress } from "../net/address.ts";
import { type NftSet, nftSets, type RulesetSets, renderSetUpdate } from "./ruleset-sets.ts";
import { MOST_ELEMENTS, type SetChange } from "./set-elements.ts";

/**
 * The sets that change whenever a pod comes or goes. Their elements are changed by one message to the kernel instead of the `nft` program, and
 * are no part of the ruleset's fingerprint: what they hold is compared with what they should.
 */
export const POD_SETS: readonly string[] = ["workloads4", "workloads6", "observed4", "observed6", "pod_interfaces"];
const INTERFACE_BYTES = 16;

/** What leads from one state to the other; null: other sets differ as well, or more than one message holds. */
export function podSetsChange(before: RulesetSets, after: RulesetSets): Extract<SetChange, { kind: "update" }> | null {
  const { workloads, observed, podInterfaces } = after;
  if (renderSetUpdate("", { ...before, workloads, observed, podInterfaces }, after) !== "") return null;
  const old = new Map(podSets(before).map(({ name, elements }) => [name, elements]));
  const sets = podSets(after).flatMap(({ name, elements }) => {
    const [had, has] = [new Set(old.get(name)), new Set(elements)];
    const added = elements.filter((element) => !had.has(element)).map(keyOf);
    const removed = [...had].filter((element) => !has.has(element)).map(keyOf);
    return added.length + removed.length === 0 ? [] : [{ set: name, added, removed }];
  });
  const count = sets.reduce((sum, { added, removed }) => sum + added.length + removed.length, 0);
  return count > MOST_ELEMENTS ? null : { kind: "update", sets };
}

/** Whether these are the elements that nft lists of the set (`nft -j`); of a set that is none of these: yes. */
export function holdsPodSet(sets: RulesetSets, name: string, listed: readonly unknown[]): boolean {
  const set = podSets(sets).find((one) => one.name === name);
  if (set === undefined) return true;
  const words = new Set(listed.map((element) => wordOf(element, name)));
  return words.size === set.elements.length && set.elements.every((element) => words.has(element));
}

function podSets(sets: RulesetSets): NftSet[] {
  return nftSets(sets).filter(({ name }) => POD_SETS.includes(name));
}

/** As `nftSets` writes it. An address may have more spellings than one. */
function wordOf(element: unknown, set: string): string {
  const text = String(element);
  if (set === "pod_interfaces") return `"${text}"`;
  const address = parseAddress(text);
  return address === null ? text : formatAddress(address);
}

/** The key in the kernel of an element as `nftSets` writes it: an address, or the name of an interface in quotes. */
function keyOf(element: string): Uint8Array {
  const address = parseAddress(element);
  if (address === null) {
    const key = new Uint8Array(INTERFACE_BYTES);
    key.set(new TextEncoder().encode(element.slice(1, -1)).subarray(0, INTERFACE_BYTES - 1));
    return key;
  }
  return addressToBytes(address);
}
