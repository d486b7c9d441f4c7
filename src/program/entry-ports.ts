import { ENTRY, PORT, type RuleData } from "./layout.ts";

/** Whether an entry that names ports names this one. ICMPv6 is given as 1; protocol 0 in an entry is any. */
export function namesPort({ entries, ports }: RuleData, entry: number, protocol: number, port: number): boolean {
  const row = entry * ENTRY.stride;
  const first = entries[row + ENTRY.ports]! * PORT.stride;
  const end = first + entries[row + ENTRY.portCount]! * PORT.stride;
  for (let at = first; at < end; at += PORT.stride) {
    const wanted = ports[at + PORT.protocol]!;
    if (wanted !== 0 && wanted !== protocol) continue;
    if (port >= ports[at + PORT.from]! && port <= ports[at + PORT.to]!) return true;
  }
  return false;
}
