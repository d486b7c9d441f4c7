import { ACTION, ENTRY, NONE, RULE } from "../program/layout.ts";
import type { Program } from "../program/program.ts";
import { ANSWER } from "./walk.ts";
import { FOR_NOTHING } from "./why.ts";

/** The answer of a rule to a DNS question, in words. The program's marks are those of the name. */
export function whyName(program: Program, name: string, rule: number, answer: number): string {
  const { rules, entries } = program.rules;
  const row = rule * RULE.stride;
  const action = rules[row + RULE.action];
  const allow = action === ACTION.allow || (action === ACTION.accept && answer !== ANSWER.yes);
  const count = rules[row + RULE.entryCount]!;
  if (count === NONE) return allow ? "a rule without names opens none" : "it is for every destination";
  if (count === 0) return FOR_NOTHING;
  const sets: number[] = [];
  const first = rules[row + RULE.entries]!;
  for (let entry = first; entry < first + count; entry++) {
    for (const field of [ENTRY.names, ENTRY.groupNames]) {
      const set = entries[entry * ENTRY.stride + field]!;
      if (set !== NONE) sets.push(set);
    }
  }
  const found = sets.find((set) => program.marks.nameMarks(set) !== 0);
  if (answer === ANSWER.no) {
    if (sets.length === 0) return "it has addresses only, which open no name";
    if (found !== undefined)
      return `name \`${name}\` is among ${program.text.nameSets[found]}, but another field can never match`;
    return `name \`${name}\` is not among ${[...new Set(sets)].map((set) => program.text.nameSets[set]).join("; ")}`;
  }
  if (answer === ANSWER.yes) return `name \`${name}\` matches, whatever its address`;
  if (found === undefined) return "it may match, by address";
  const named = `name \`${name}\` is among ${program.text.nameSets[found]}`;
  return allow ? named : `${named}; it may match, by address, port or payload`;
}
