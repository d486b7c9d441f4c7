/** `node test/cluster/command.ts VERB …`: the test cluster by hand. */

import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { serveAgain, startApiServer, stopApiServer, stopServing } from "./api-server.ts";
import { buildPrograms } from "./builds.ts";
import { Cluster } from "./cluster.ts";
import { removeCluster } from "./cluster-down.ts";
import { createCluster } from "./cluster-up.ts";
import { onMachine } from "./machine.ts";
import { MANIFESTS, renderManifests } from "./manifests.ts";

const USAGE = `usage:
  build                             build what the cache lacks
  manifests                         writes deploy/manifests from the chart
  up NAME                           a whole cluster of one node
  down NAME                         removes it, also what a crash left
  kubectl NAME ...                  kubectl against it
  machine NAME COMMAND ...          a command on its node
  apiserver up NAME [--controllers] [KUBE-APISERVER-FLAG ...]
  apiserver down NAME               etcd and kube-apiserver on loopback, nothing else
  apiserver stop NAME | start NAME  ends kube-apiserver alone, starts it again on the same port and data
`;

async function main(words: readonly string[]): Promise<void> {
  const [verb, ...rest] = words;
  if (verb === "build") await buildPrograms(undefined, { report: (line) => process.stdout.write(`${line}\n`) });
  else if (verb === "apiserver") await apiServer(rest);
  else if (verb === "manifests") await writeManifests();
  else if (verb === "up") await createCluster(rest[0] ?? "", { report: (line) => process.stdout.write(`${line}\n`) });
  else if (verb === "down") await removeCluster(rest[0] ?? "");
  else if (verb === "kubectl") await inherit((await Cluster.open(rest[0] ?? "")).kubectlArguments(rest.slice(1)));
  else if (verb === "machine") await inherit(onMachine((await Cluster.open(rest[0] ?? "")).machine, rest.slice(1)));
  else throw new Error(USAGE.trimEnd());
}

async function writeManifests(): Promise<void> {
  const { helm } = await buildPrograms(["helm"]);
  const path = fileURLToPath(new URL(`../../${MANIFESTS}`, import.meta.url));
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, await renderManifests(helm));
}

async function apiServer(words: readonly string[]): Promise<void> {
  const [action, name = "api", ...flags] = words;
  if (action === "up") {
    const options = { controllers: flags.includes("--controllers") };
    const server = await startApiServer(name, {
      ...options,
      arguments: flags.filter((flag) => flag !== "--controllers"),
    });
    const { components: _, ...shown } = server;
    process.stdout.write(`${JSON.stringify(shown, null, 1)}\n`);
  } else if (action === "down") {
    const found = await stopApiServer(name);
    process.stdout.write(found ? `\`${name}\` is down\n` : `\`${name}\` was not up\n`);
  } else if (action === "stop") await stopServing(name);
  else if (action === "start") await serveAgain(name);
  else throw new Error(USAGE.trimEnd());
}

/** Runs a command on our own terminal and ends as it ends. */
async function inherit([program = "", ...words]: readonly string[]): Promise<void> {
  const child = spawn(program, words, { stdio: "inherit" });
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
