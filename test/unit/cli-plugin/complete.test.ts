import { afterAll, beforeAll, expect, test } from "vitest";
import { serveSmallCluster } from "../../support/plugin-objects.ts";
import { StubCluster } from "../../support/stub-cluster.ts";

let cluster: StubCluster;
beforeAll(async () => {
  cluster = await StubCluster.start();
  serveSmallCluster(cluster);
});
afterAll(() => cluster.close());

/** kubectl gives the words after `sallyport`, the last of them unfinished; of descriptions only the words are looked at. */
async function complete(...words: string[]): Promise<string[]> {
  const before = process.env["KUBECONFIG"];
  process.env["KUBECONFIG"] = cluster.kubeconfig;
  try {
    const { status, stdout } = await cluster.plugin("__complete", ...words);
    expect(status).toBe(0);
    return stdout
      .trim()
      .split("\n")
      .map((line) => line.split("\t")[0] ?? "");
  } finally {
    if (before === undefined) delete process.env["KUBECONFIG"];
    else process.env["KUBECONFIG"] = before;
  }
}

test.each<readonly [readonly string[], readonly string[]]>([
  [["st"], ["status", ":4"]],
  [
    ["why", "-n", "ns", ""],
    ["app", "free", ":4"],
  ],
  [
    ["why", "ns/f"],
    ["ns/free", ":4"],
  ],
  [
    ["why", "ns/app", "h"],
    ["https://", "http://", ":6"],
  ],
  [
    ["flows", "--action", ""],
    ["Allow", "Deny", ":4"],
  ],
  [
    ["flows", "--action=D"],
    ["--action=Deny", ":4"],
  ],
  [
    ["flows", "--node", ""],
    ["n1", ":4"],
  ],
  [
    ["flows", "--den"],
    ["--denied", ":4"],
  ],
  [
    ["coverage", "--context", "e"],
    ["elsewhere", ":4"],
  ],
  [
    ["coverage", "-n", ""],
    ["ns", ":4"],
  ],
  [["coverage", "--kubeconfig", ""], [":0"]],
  // What cannot be asked offers nothing.
  [["why", "--context", "elsewhere", ""], [":4"]],
  [["why", "--nonsense", ""], [":4"]],
  [["nothing", ""], [":4"]],
])("%j", async (words, offered) => {
  expect(await complete(...words)).toEqual(offered);
});
