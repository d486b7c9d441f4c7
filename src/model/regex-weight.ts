/** With what stands before it; of `(a)\Q\E{9}` the group is repeated. */
const COUNTED = /(\\E|.)?\{(\d+)(?:,(\d*))?\}/gsu;

/**
 * What a regular expression costs to compile and to match: at least about the letters it has once its counted repetitions are written out. Read
 * without a parser, which would have to agree with RE2 on everything: what is repeated behind a group may be all that stands before.
 */
export function regexWeight(text: string): number {
  let weight = 0;
  let end = 0;
  for (const { 0: whole, 1: before = "", 2: least, 3: most, index } of text.matchAll(COUNTED)) {
    weight += index + before.length - end;
    const times = Math.max(1, Number(least), Number(most ?? 0));
    weight = before === ")" || before === "\\E" ? weight * times : weight + times;
    end = index + whole.length;
  }
  return weight + text.length - end;
}
