/** What the fast reader leaves to the YAML reader. */
export const NOT_PLAIN: unique symbol = Symbol("not plain");

/** A value without quotes, and a comment behind it. `:` only where a character follows, so that it is no key. */
const BARE =
  /^((?:[A-Za-z0-9/_$]|-[A-Za-z-])(?:[A-Za-z0-9/_.+\-@=,%*$~()'"!&?;<>|{}[\]^\\]|:(?=[A-Za-z0-9:/_.-])| (?=[A-Za-z0-9/_.+\-@=,%*$~()'"!&?;<>|{}[\]^\\]))*) *(?: #.*)?$/;
const QUOTED = /^(?:"([^"\\]*)"|("(?:[^"\\]|\\["\\nt])*")|'((?:[^']|'')*)') *(?: #.*)?$/;
/** Whatever the YAML 1.2 core schema might take for a number. */
const NUMERIC = /^(?:0[xo][0-9a-fA-F]*|[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]*)?)$/;
const INTEGER = /^(?:0|[1-9][0-9]{0,14})$/;
const WORD = /^(?:null|true|false|yes|no|on|off|y|n)$/i;
const LONGEST_KEY = 320;

/** The value of a scalar that fills the rest of a line; `NOT_PLAIN` where there could be a doubt about it. */
export function scalar(text: string): string | number | boolean | null | typeof NOT_PLAIN {
  const bare = BARE.exec(text)?.[1];
  if (bare !== undefined) return bareValue(bare);
  const quoted = QUOTED.exec(text);
  if (quoted === null) return NOT_PLAIN;
  // These escapes are JSON's, too.
  if (quoted[2] !== undefined) return JSON.parse(quoted[2]) as string;
  return quoted[1] ?? quoted[3]!.replaceAll("''", "'");
}

/** What a text without quotes means. */
export function bareValue(bare: string): string | number | boolean | null | typeof NOT_PLAIN {
  const first = bare.charCodeAt(0);
  if (first >= 0x30 && first <= 0x39) {
    if (INTEGER.test(bare)) return Number(bare);
    return NUMERIC.test(bare) ? NOT_PLAIN : bare;
  }
  if (bare === "true" || bare === "false") return bare === "true";
  if (bare === "null") return null;
  return bare.length <= 5 && WORD.test(bare) ? NOT_PLAIN : bare;
}

/** Whether a text without quotes is a key as it stands: no number, no `null`, nothing that an object has by itself. */
export function isKey(bare: string): boolean {
  return bare.length <= LONGEST_KEY && bare !== "__proto__" && !WORD.test(bare);
}
