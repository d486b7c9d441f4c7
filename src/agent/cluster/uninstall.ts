import { type Fields, fields } from "../../kube/object.ts";

/** Key of the ConfigMap `sallyport-ranges`: when somebody asked for Sallyport to go, RFC 3339. */
export const UNINSTALL_KEY = "uninstall";
/** For so long an agent that is told to end takes its rules with it. */
export const UNINSTALL_MS = 15 * 60_000;
/** How far the clocks of two nodes may be apart. */
const SKEW_MS = 60_000;

/**
 * Whether Sallyport is being uninstalled: it was asked for while this agent ran, and not long ago. One of an earlier life (before a new
 * install) says nothing, and so does one that lies in the future. All times in milliseconds of Unix time.
 */
export function isUninstalling(objects: Iterable<{ readonly value: Fields }>, runsSince: number, now: number): boolean {
  for (const { value } of objects) {
    const text = fields(value["data"])[UNINSTALL_KEY];
    const asked = typeof text === "string" ? Date.parse(text) : Number.NaN;
    if (asked >= runsSince && asked <= now + SKEW_MS && now - asked < UNINSTALL_MS) return true;
  }
  return false;
}
