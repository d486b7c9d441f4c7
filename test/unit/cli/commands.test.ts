import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { bundled, root } from "./bundle.ts";

const { folder, run } = bundled();
const EXAMPLE = "examples/two-apps";
const SCENE = ["--policies", `${EXAMPLE}/policies`, "--workloads", `${EXAMPLE}/tests/workloads.yaml`];
const WHOLE_SCENE = [...SCENE, "--config", `${EXAMPLE}/tests/agent-config.yaml`];
const COMMANDS = ["validate", "explain", "test", "agent", "flows", "completion", "version", "lab"];

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe("help", () => {
  test.each(COMMANDS)("%s says what it does, with examples and exit statuses", (command) => {
    const { status, stdout, stderr } = run(command, "--help");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/Examples:\n {2}\S/);
    expect(stdout).toMatch(/Exit status:\n {2}0 /);
    expect(run("help", command).stdout).toBe(stdout);
  });

  test("the program lists every command", () => {
    const { status, stdout } = run("--help");
    expect(status).toBe(0);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^ {2}${command} `, "m"));
  });
});

describe("wrong usage is one line and exit status 2", () => {
  const rows: readonly (readonly [readonly string[], string])[] = [
    [["explian"], "unknown command `explian` (Did you mean explain?)"],
    [["flows", "--foo", "x"], "unknown option `--foo`"],
    [["flows", "x", "--action", "Foo"], "argument `Foo` is invalid"],
    [["flows", "x", "--since", "soon"], "`--since soon`: write 90s"],
    [["flows", "x", "--to", "300.1.1.1/8"], "`--to`: "],
    [["flows", "-", "-f", "--summary"], "leave `--summary` out"],
    [["flows", "/nowhere/flows.log"], "`/nowhere/flows.log` cannot be read"],
    [["validate"], "missing required argument `path`"],
    [["validate", "/nowhere"], "`/nowhere` is not there"],
    [["explain"], "`--policies <path...>` not specified"],
    [["explain", ...SCENE, "--from", "app1-ns/app1", "--to", "ftp://x"], "`ftp://` is not known"],
    [["explain", ...SCENE, "--from", "app1-ns/apq1", "--to", "dns://a.example"], "did you mean `app1-ns/app1`?"],
    [["agent"], "`agent` needs `--policies PATH`"],
    [["agent", "--flows-max-size", "1"], "from 4096 on"],
    [["completion", "tcsh"], "`tcsh` is invalid"],
    [["test", `${EXAMPLE}/policies`], "no document of kind `EgressTest`"],
  ];
  test.each(rows)("%j", (words, message) => {
    const { status, stdout, stderr } = run(...words);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/^sallyport: .*\n$/);
  });
});

describe("explain", () => {
  test("prints the decision as JSON, whatever it is", () => {
    const allowed = run(
      "explain",
      ...WHOLE_SCENE,
      "--from",
      "app1-ns/app1",
      "--to",
      "https://api.github.com/x",
      "-o",
      "json",
    );
    expect(allowed.status).toBe(0);
    const expected = {
      action: "Allow",
      policy: "ClusterEgressPolicy/app1",
      rule: "github",
      reason: "RuleMatched",
      audit: null,
    };
    expect(JSON.parse(allowed.stdout)).toMatchObject({ ...expected, decidedAt: "payload", name: "api.github.com" });
    const denied = run(
      "explain",
      ...WHOLE_SCENE,
      "--from",
      "app1-ns/app1",
      "--to",
      "tcp://203.0.113.66:22",
      "-o",
      "json",
    );
    expect(denied.status).toBe(0);
    const nobody = { action: "Deny", policy: null, rule: null, reason: "DefaultDeny", decidedAt: "first packet" };
    expect(JSON.parse(denied.stdout)).toMatchObject(nobody);
  });

  test("tells in words which rules were asked", () => {
    const { status, stdout } = run(
      "explain",
      ...WHOLE_SCENE,
      "--from",
      "app1-ns/app1",
      "--to",
      "https://api.github.com/",
    );
    expect(status).toBe(0);
    expect(stdout).toBe(readFileSync(new URL("golden/explain.txt", import.meta.url), "utf8"));
  });

  test("works without an AgentConfig", () => {
    const { status, stdout } = run(
      "explain",
      ...SCENE,
      "--from",
      "app2-ns/app2",
      "--to",
      "udp://dns.google:53",
      "-o",
      "yaml",
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/^action: Allow\npolicy: ClusterEgressPolicy\/app2\nrule: google-dns\n/);
  });

  test("shows what Audit policies would make of it", () => {
    const policy = file(
      "audit.yaml",
      `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: trial }
spec:
  tier: Admin
  priority: 1
  mode: Audit
  defaultDeny: false
  rules:
    - { name: no-raw, action: Deny, to: [{ domains: [raw.github.com], ports: [{ protocol: TCP, port: 443 }] }] }
`,
    );
    const words = [
      "--policies",
      `${EXAMPLE}/policies`,
      policy,
      "--from",
      "app1-ns/app1",
      "--to",
      "https://raw.github.com/",
    ];
    const { stdout } = run("explain", ...SCENE.slice(2), ...words, "-o", "json");
    expect(JSON.parse(stdout)).toMatchObject({
      action: "Allow",
      audit: { action: "Deny", policy: "ClusterEgressPolicy/trial", rule: "no-raw" },
    });
    expect(run("explain", ...SCENE.slice(2), ...words).stdout).toContain(
      "With its Audit policies enforced: Deny by rule `no-raw`",
    );
  });
});

describe("validate", () => {
  test("accepts the example and says what it read", () => {
    const { status, stdout } = run("validate", `${EXAMPLE}/policies`);
    expect(status).toBe(0);
    expect(stdout).toMatch(/3 files, 3 policies, 0 groups: 0 errors, \d warnings?\n$/);
  });

  test("reports every error with its place, exit status 1", () => {
    const path = file(
      "bad.yaml",
      "apiVersion: sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata: { name: a, namespace: b }\nspec:\n  ruls: []\n",
    );
    const { status, stdout } = run("validate", path);
    expect(status).toBe(1);
    expect(stdout).toMatch(/bad\.yaml:5:3: unknown field `ruls`.*did you mean `rules`\?\n/);
    const json = JSON.parse(run("validate", path, "-o", "json").stdout);
    expect(json).toMatchObject({
      valid: false,
      problems: [expect.objectContaining({ line: expect.any(Number), severity: "error" })],
    });
  });

  test("warnings fail with --strict only", () => {
    const words = ["validate", `${EXAMPLE}/policies/20-app2.yaml`];
    expect(run(...words).status).toBe(0);
    expect(run(...words, "--strict").status).toBe(1);
  });
});

describe("test", () => {
  test("the example's cases hold", () => {
    const junit = join(folder, "junit.xml");
    const { status, stdout } = run("test", `${EXAMPLE}/tests`, "--junit", junit);
    expect(stdout).toMatch(/\n\d\d+ passed, 0 failed\n$/);
    expect(status).toBe(0);
    expect(readFileSync(junit, "utf8")).toMatch(/<testsuites name="sallyport" tests="\d+" failures="0"/);
  });

  test("a case that does not hold fails, with its place", () => {
    const path = file(
      "wrong.yaml",
      `apiVersion: sallyport.dev/v1alpha1
kind: EgressTest
metadata: { name: wrong }
spec:
  policies: [${process.cwd()}/${EXAMPLE}/policies]
  workloads: ${process.cwd()}/${EXAMPLE}/tests/workloads.yaml
  cases:
    - { from: app1-ns/app1, to: "https://api.github.com/", expect: Deny }
    - { from: app1-ns/app1, to: "https://api.github.com/", expect: { action: Allow, rule: other } }
    - { from: app1-ns/gone, to: "https://api.github.com/", expect: Allow }
    - { from: app1-ns/app1, to: "https://evil.example/", expect: { action: Deny, policy: null, reason: DefaultDeny } }
`,
    );
    const { status, stdout } = run("test", path);
    expect(status).toBe(1);
    expect(stdout).toContain(
      "wrong.yaml:8: app1-ns/app1 to https://api.github.com/: expected action `Deny`, got `Allow`",
    );
    expect(stdout).toContain("expected rule `other`, got `github`");
    expect(stdout).toContain("no running pod `app1-ns/gone`");
    expect(stdout).toMatch(/\n1 passed, 3 failed\n$/);
    expect(JSON.parse(run("test", path, "-o", "json", "--only", "evil").stdout)).toMatchObject({
      passed: 1,
      failed: 0,
    });
  });
});

test("version", () => {
  // From the source: the bundle of this test has no package.json above it.
  const { stdout } = spawnSync(process.execPath, ["src/cli/main.ts", "version"], { cwd: root, encoding: "utf8" });
  expect(stdout).toMatch(/^sallyport \d+\.\d+\.\d+ \(node v\d+/);
});
