import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { completionScript } from "../../../src/cli/completion.ts";
import { printable, table } from "../../../src/cli/output.ts";
import { createProgram } from "../../../src/cli/run.ts";

const program = await createProgram(true);

function complete(...words: string[]): string[] {
  const script = `${completionScript(program, "bash")}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sallyport; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync("bash", ["-c", script, "-", ...words], {
    encoding: "utf8",
    timeout: 10_000,
    cwd: "/",
  });
  // `complete` itself needs an interactive shell in some builds of bash; anything else is a mistake in the script.
  expect(stderr.replace(/.*complete: .*\n/g, "")).toBe("");
  return stdout.split("\n").filter((word) => word !== "");
}

test("bash completes commands, options and choices", () => {
  expect(complete("sallyport", "ex")).toEqual(["explain"]);
  expect(complete("sallyport", "lab", "")).toEqual(["up", "down", "exec", "status"]);
  expect(complete("sallyport", "explain", "--po")).toEqual(["--policies"]);
  expect(complete("sallyport", "flows", "x", "--action", "")).toEqual(["Allow", "Deny"]);
  expect(complete("sallyport", "completion", "z")).toEqual(["zsh"]);
  expect(complete("sallyport", "validate", "us")).toEqual(["usr"]);
});

test("fish knows every command and option", () => {
  const script = completionScript(program, "fish");
  for (const command of program.commands) {
    if (command.name() !== "help") expect(script).toContain(`-a '${command.name()}'`);
    for (const { long } of command.options.filter((option) => !option.hidden))
      expect(script).toContain(`-l ${long?.slice(2)}`);
  }
});

test("zsh borrows bash's", () => {
  expect(completionScript(program, "zsh")).toMatch(/^#compdef sallyport\n.*bashcompinit/);
});

test("text of others does nothing on a terminal", () => {
  expect(printable("a\u001b[31mb\u0007\u009b\u202ec\n")).toBe("a\\u001b[31mb\\u0007\\u009b\\u202ec\\u000a");
  expect(
    table([
      ["A", "B"],
      ["\u001b]0;x\u0007", "y"],
    ]),
  ).toContain("\\u001b]0;x\\u0007  y\n");
});
