import { RE2JS } from "re2js";
import * as z from "zod";
import { at, type Check, checked, oneLine, shown } from "./check.ts";
import { checkPathSpelling } from "./paths.ts";

const LONGEST_PATH = 4096;
/** The API server compiles each, and what that costs by its measure is the length. */
const LONGEST_REGEX = 256;

/** What a normalised path is made of (paths.ts): plain characters, and escapes of what is neither unreserved nor refused. */
const CHARACTERS = '([!"$&->@-\\[\\]-~]|%(2[0-9A-C]|3[A-F]|40|5[BDE]|60|7[B-D]|[89A-F][0-9A-F]))';
const DOT_SEGMENT = "\\.\\.?(/|$)";

const spelling = (whole: boolean): Check<string> => ({
  name: "path-spelling",
  api: { by: "schema" },
  find(value) {
    const wrong = checkPathSpelling(value, whole);
    if (wrong === null) return null;
    const fix = wrong.suggestion === null ? "no request path is spelt so" : `write ${shown(wrong.suggestion)}`;
    return at(`the path ${shown(value)} ${wrong.problem}: ${fix}`);
  },
});

const WholePath = checked(
  z
    .string()
    .max(LONGEST_PATH)
    .meta({ pattern: `^/${CHARACTERS}*$`, not: { pattern: `//|/${DOT_SEGMENT}` } }),
  spelling(true),
);

const PathSuffix = checked(
  z
    .string()
    .max(LONGEST_PATH)
    .meta({ pattern: `^${CHARACTERS}+$`, not: { pattern: `//|^/(.*/)?${DOT_SEGMENT}` } }),
  spelling(false),
);

const PathRegex = checked(z.string().max(LONGEST_REGEX), {
  name: "regex-compiles",
  api: {
    by: "cel",
    // An expression that does not compile ends the evaluation, which refuses the document.
    rule: "''.matches(self) in [true, false]",
    message: "the regular expression does not compile: use RE2 syntax",
  },
  find(value) {
    try {
      RE2JS.compile(value);
      return null;
    } catch (error) {
      const why = error instanceof Error ? error.message.replace(/^error parsing regexp: /, "") : "not understood";
      return at(`the regular expression ${shown(value)} does not compile (${oneLine(why, 100)}): use RE2 syntax`);
    }
  },
});

const PATH_KINDS = ["exact", "prefix", "suffix", "regex"] as const;

export const HttpPath = checked(
  z
    .object({
      exact: WholePath.optional().meta({ description: "The whole path." }),
      prefix: WholePath.optional().meta({
        description: "How the path begins. Compared by character: end it with `/` to mean what lies below.",
      }),
      suffix: PathSuffix.optional().meta({ description: "How the path ends." }),
      regex: PathRegex.optional().meta({
        description: "RE2 syntax, up to 256 characters; it must match the whole path.",
      }),
    })
    .meta({ description: "Exactly one of the fields. Compared with the normalised path, without the query." }),
  {
    name: "one-kind-of-path",
    api: {
      by: "cel",
      rule: "[has(self.exact), has(self.prefix), has(self.suffix), has(self.regex)].filter(given, given).size() == 1",
      message: "a path takes exactly one of `exact`, `prefix`, `suffix`, `regex`: write an entry for each",
    },
    find(value) {
      const given = PATH_KINDS.filter((kind) => value[kind] !== undefined);
      if (given.length === 1) return null;
      const all = "one of `exact`, `prefix`, `suffix`, `regex`";
      return at(
        given.length === 0
          ? `a path says nothing: give ${all}`
          : `a path takes exactly ${all}: write an entry for each`,
      );
    },
  },
);
