import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import type { Layout } from "./layout.ts";
import { checkLabName, LABS_DIRECTORY, labOfNetns, NETNS_RUN } from "./names.ts";

/** Where one lab keeps its files. */
export function labDirectory(lab: string): string {
  return `${LABS_DIRECTORY}/${checkLabName(lab)}`;
}

/** Takes the name: of two that start the same lab, one fails. @throws Error one line for the user */
export async function claim(lab: string): Promise<string> {
  const directory = labDirectory(lab);
  await mkdir(LABS_DIRECTORY, { recursive: true, mode: 0o755 });
  const leftovers = (await netnsNames()).some((netns) => labOfNetns(netns) === lab);
  const taken = leftovers || (await mkdir(directory, { mode: 0o755 }).then(() => false, isTaken));
  if (taken) throw new Error(`lab \`${lab}\` is there already: use it, or \`sallyport lab down --name ${lab}\` first`);
  return directory;
}

function isTaken(error: NodeJS.ErrnoException): true {
  if (error.code === "EEXIST") return true;
  throw error;
}

/** Writes a file so that a reader sees the old text or the new, never half of it. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

export interface LabState {
  readonly version: 1;
  readonly createdAt: string;
  /** Counts changes of the workloads file. */
  readonly revision: number;
  readonly layout: Layout;
}

export async function saveState(state: LabState): Promise<void> {
  await writeWhole(`${labDirectory(state.layout.name)}/state.json`, `${JSON.stringify(state, null, 1)}\n`);
}

/** @throws Error one line for the user, when there is no such lab or it never came up */
export async function loadState(lab: string): Promise<LabState> {
  const text = await readFile(`${labDirectory(lab)}/state.json`, "utf8").catch(() => null);
  if (text === null) throw new Error(`lab \`${lab}\` is not up: start it with \`sallyport lab up --name ${lab}\``);
  return JSON.parse(text) as LabState;
}

/** Names of every lab there is a trace of: a folder, or a network namespace left by a crash. */
export async function listLabs(): Promise<readonly string[]> {
  const folders = await readdir(LABS_DIRECTORY).catch(() => []);
  const spaces = (await netnsNames()).map(labOfNetns).filter((lab) => lab !== null);
  return [...new Set([...folders, ...spaces])].sort();
}

/** Every named network namespace of the machine. */
export async function netnsNames(): Promise<readonly string[]> {
  return readdir(NETNS_RUN).catch(() => []);
}
