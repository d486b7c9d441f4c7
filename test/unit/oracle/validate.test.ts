import { expect, test } from "vitest";
import { loadDocuments } from "../../../src/policy/documents.ts";
import { formatProblem } from "../../../src/policy/problem.ts";
import { RIGHT, SPOILED, SPOILED_ENTRIES } from "./spoiled.ts";

const OWN_ENTRY = RIGHT.slice(RIGHT.indexOf("- domains"));

function said(text: string): readonly string[] {
  return loadDocuments([{ path: "f", text }]).problems.map((problem) => formatProblem(problem).replace(/^f:/, ""));
}

test("the document is right", () => expect(said(RIGHT)).toEqual([]));

test.each(SPOILED)("%j as %j", (right, wrong, message) => {
  expect(RIGHT).toContain(right);
  expect(said(RIGHT.replace(right, () => wrong))).toEqual([message]);
});

test.each(SPOILED_ENTRIES)("the entry %s", (entry, message) => {
  expect(said(RIGHT.replace(OWN_ENTRY, () => `- ${entry}\n`))).toEqual([message]);
});
