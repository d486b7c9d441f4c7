import { readFileSync } from "node:fs";

const CAP_NET_ADMIN = 12;
const CAP_NET_RAW = 13;

/** @throws Error one line, when a capability that the agent needs is not there */
export function checkPrivileges(): void {
  const status = readFileSync("/proc/self/status", "latin1");
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
  const missing = [
    ["CAP_NET_ADMIN", CAP_NET_ADMIN],
    ["CAP_NET_RAW", CAP_NET_RAW],
  ].filter(([, bit]) => (effective & (1n << BigInt(bit as number))) === 0n);
  if (missing.length === 0) return;
  const names = missing.map(([name]) => `\`${name}\``).join(" and ");
  throw new Error(`${names} missing: run the agent as root, or give it these capabilities`);
}
