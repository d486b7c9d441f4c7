import { readFile, truncate } from "node:fs/promises";
import { outsideNetns } from "./names.ts";
import { inNetworkOnly, must } from "./process.ts";
import { requestLog } from "./web.ts";

/** What arrived outside for one destination, counted as it came in from the nodes. */
export interface Arrival {
  readonly address: string;
  /** `tcp`, `udp`, `sctp`, `icmp`, `ipv6-icmp`, `gre` ... or the number of the protocol. */
  readonly protocol: string;
  /** Null for protocols without ports. */
  readonly port: number | null;
  readonly packets: number;
  readonly bytes: number;
  /** TCP segments that carried data; 0 for other protocols. */
  readonly withPayload: number;
}

/** One request that a web server outside answered; the names of nginx's variables, in plain words. */
export interface WebRequest {
  readonly time: string;
  readonly client: string;
  readonly site: string;
  readonly address: string;
  readonly port: string;
  readonly sni: string;
  readonly host: string;
  readonly method: string;
  readonly target: string;
  readonly status: string;
  readonly connection: string;
  readonly request: string;
}

const FAMILIES = ["ipv4", "ipv6"] as const;
const SETS = FAMILIES.flatMap((family) => [`ports_${family}`, `payload_${family}`, `protocols_${family}`]);

/** Everything that arrived outside since the lab came up or `forgetArrivals`. */
export async function arrivals(lab: string): Promise<readonly Arrival[]> {
  const text = await must(inNetworkOnly(outsideNetns(lab), ["nft", "-j", "list", "table", "inet", "lab_seen"]));
  const sets = new Map<string, readonly Element[]>();
  for (const item of (JSON.parse(text) as { nftables: { set?: RawSet }[] }).nftables) {
    if (item.set !== undefined) sets.set(item.set.name, (item.set.elem ?? []).map(element));
  }
  const key = (one: Element) => JSON.stringify(one.key);
  return FAMILIES.flatMap((family) => {
    const payload = new Map((sets.get(`payload_${family}`) ?? []).map((one) => [key(one), one.packets]));
    return [...(sets.get(`ports_${family}`) ?? []), ...(sets.get(`protocols_${family}`) ?? [])].map((one) => ({
      address: String(one.key[0]),
      protocol: String(one.key[1]),
      port: one.key.length > 2 ? Number(one.key[2]) : null,
      packets: one.packets,
      bytes: one.bytes,
      withPayload: payload.get(key(one)) ?? 0,
    }));
  });
}

interface RawSet {
  readonly name: string;
  readonly elem?: readonly RawElement[];
}

interface RawElement {
  readonly elem: {
    readonly val: { readonly concat: readonly (string | number)[] };
    readonly counter?: { readonly packets: number; readonly bytes: number };
  };
}

interface Element {
  readonly key: readonly (string | number)[];
  readonly packets: number;
  readonly bytes: number;
}

function element({ elem }: RawElement): Element {
  return { key: elem.val.concat, packets: elem.counter?.packets ?? 0, bytes: elem.counter?.bytes ?? 0 };
}

/** Sets every counter to nothing. */
export async function forgetArrivals(lab: string): Promise<void> {
  const lines = SETS.map((set) => `flush set inet lab_seen ${set}\n`).join("");
  await must(inNetworkOnly(outsideNetns(lab), ["nft", "-f", "-"]), { input: lines });
}

/** The requests that web servers outside answered, oldest first. */
export async function webRequests(directory: string): Promise<readonly WebRequest[]> {
  const text = await readFile(requestLog(directory), "utf8").catch(() => "");
  const lines = text.split("\n").slice(0, -1);
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as WebRequest);
}

/** nginx appends, so an emptied log simply starts anew. */
export async function forgetWebRequests(directory: string): Promise<void> {
  await truncate(requestLog(directory), 0).catch(() => {});
}
