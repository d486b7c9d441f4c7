import { type ListenAddress, parseListen } from "../agent/metrics/listen-address.ts";
import { UsageError } from "./failure.ts";

/** `off` is nowhere; not given is `usual`. */
export function listenAddresses(texts: readonly string[] | undefined, usual: string): ListenAddress[] {
  const given = texts ?? [usual];
  if (given.length === 1 && given[0] === "off") return [];
  return given.map((text) => {
    const address = parseListen(text);
    if (address === null) {
      throw new UsageError(
        `\`--listen ${text}\`: write ADDRESS:PORT (as in \`${usual}\` or \`[::1]:9464\`), \`unix:/path\`, or \`off\` alone`,
      );
    }
    return address;
  });
}
