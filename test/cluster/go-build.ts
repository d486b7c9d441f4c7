import { mkdir, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ExecOptions, run } from "../../src/lab/process.ts";

export interface GoBuild {
  /** As it is called in what is reported. */
  readonly name: string;
  /** Folder of the module. */
  readonly directory: string;
  readonly package: string;
  readonly flags: readonly string[];
  readonly cgo: boolean;
  /** Where the program goes. */
  readonly output: string;
}

type Report = (line: string) => void;

/** A cold build of the largest, on two busy cores at the lowest priority, takes a quarter of an hour. */
const BUILD_MS = 45 * 60_000;
const DOWNLOAD_MS = 10 * 60_000;
/** Before the second try and those after it. */
const PAUSES_MS = [5_000, 20_000, 60_000];
const SIGN_OF_LIFE_MS = 20_000;
const LAST_LINES = 20;

/**
 * Downloads what a program is made of, in several tries, then builds it. Reports each step, and that it still goes on.
 * @throws Error with the last words of the Go toolchain
 */
export async function goBuild(build: GoBuild, report: Report): Promise<void> {
  const { name, flags, output, package: target } = build;
  const began = performance.now();
  await stillThere(`${name}: downloading its modules`, report, () => download(build, report));
  const downloaded = seconds(began);
  await mkdir(dirname(output), { recursive: true });
  await stillThere(`${name}: building`, report, async () => {
    // Built beside its place and moved there: a build that is cut short leaves no program.
    const { status, stderr } = await go(build, ["build", "-p", "2", ...flags, "-o", `${output}.new`, target], BUILD_MS);
    if (status !== 0) throw new Error(`\`${name}\` cannot be built; Go's last words:\n${lastLines(stderr)}`);
  });
  await rename(`${output}.new`, output);
  report(`${name}: built in ${seconds(began)} s, of which ${downloaded} s are downloads`);
}

/** Lists the packages: Go then has fetched every module that it needs of the build, and nothing else. */
async function download(build: GoBuild, report: Report): Promise<void> {
  const tags = build.flags.includes("-tags") ? build.flags.slice(build.flags.indexOf("-tags")).slice(0, 2) : [];
  for (const pause of [...PAUSES_MS, null]) {
    const { status, stderr } = await go(build, ["list", "-deps", ...tags, "-f", "", build.package], DOWNLOAD_MS);
    if (status === 0) return;
    if (pause === null) {
      throw new Error(`modules of \`${build.name}\` cannot be downloaded; Go's last words:\n${lastLines(stderr)}`);
    }
    const why = lastLines(stderr).split("\n").at(-1);
    report(`${build.name}: a download failed (${why}); trying again in ${pause / 1000} s`);
    await sleep(pause);
  }
}

/** At the lowest priority: tests may run beside it. */
function go(build: GoBuild, [verb = "", ...words]: readonly string[], timeoutMs: number): ReturnType<typeof run> {
  const argv = ["nice", "-n", "19", "go", verb, "-C", build.directory, ...words];
  return run(argv, { timeoutMs, env: environment(build.cgo) });
}

function environment(cgo: boolean): NonNullable<ExecOptions["env"]> {
  return {
    CGO_ENABLED: cgo ? "1" : "0",
    GOFLAGS: "",
    GOWORK: "off",
    GOTOOLCHAIN: "local",
    // Compilers are short-lived: collecting their garbage below this would cost a fifth of the build.
    GOGC: "off",
    GOMEMLIMIT: "2GiB",
  };
}

async function stillThere<T>(what: string, report: Report, work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  report(what);
  const timer = setInterval(() => report(`${what}, ${seconds(began)} s so far`), SIGN_OF_LIFE_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

function seconds(began: number): string {
  return ((performance.now() - began) / 1000).toFixed(0);
}

function lastLines(text: string): string {
  const lines = text.trim().split("\n").slice(-LAST_LINES);
  return lines.map((line) => line.slice(0, 400)).join("\n");
}
