import type { Destination } from "../../model/policy.ts";
import { everyPort, type PortRange } from "../../net/ports.ts";
import { oneLine } from "../check.ts";

/** What a rule asks of the port. */
export interface Ports {
  readonly numbered: readonly PortRange[];
  /** Protocols of ports that are called by a name, which a pod gives its own. */
  readonly named: readonly number[];
}

export type Where = Pick<Destination, "domains" | "cidrs" | "except">;

const ASKS_NOTHING_ELSE = { group: null, http: null, tls: null } as const;

/**
 * The entries of a rule: one for each of `outside`, and one for peers inside the cluster, which no outside address meets. A port that is
 * called by a name is one of a pod: outside it matches nothing. `ports` null: every port.
 */
export function destinations(outside: readonly Where[], inside: boolean, ports: Ports | null): Destination[] {
  const numbered = ports === null ? null : ports.numbered;
  const met = outside.map((where) => ({ ...where, ...ASKS_NOTHING_ELSE, ports: numbered }));
  const outer = numbered !== null && numbered.length === 0 ? [] : met;
  if (!inside) return outer;
  const all = ports === null ? null : [...ports.numbered, ...ports.named.map(everyPort)];
  return [...outer, { domains: null, cidrs: [], except: [], ...ASKS_NOTHING_ELSE, ports: all }];
}

/** `egress[0]`, and behind it what its author calls it. */
export function ruleName(index: number, name = ""): string {
  const own = oneLine(name, 100);
  return own === "" ? `egress[${index}]` : `egress[${index}] ${own}`;
}

/** Whether an entry stands for pods inside the cluster. */
export function isInside({ cidrs }: Destination): boolean {
  return cidrs !== null && cidrs.length === 0;
}
