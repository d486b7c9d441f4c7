import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
// What `run` loads when it is asked for, which would else be part of the first test's time.
import "../../src/cli/plugin/complete.ts";
import "../../src/cli/plugin/coverage.ts";
import "../../src/cli/plugin/live-flows.ts";
import "../../src/cli/plugin/live-status.ts";
import "../../src/cli/plugin/policies.ts";
import "../../src/cli/plugin/program.ts";
import "../../src/cli/plugin/why.ts";
import { run } from "../../src/cli/run.ts";
import { type Asked, answer, StubApiServer } from "./stub-api-server.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** What is served at a path: an object, a list of items, a text, or what to do with the request. */
export type Served = { readonly items: readonly object[] } | object | string | ((asked: Asked) => void);

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** An API server that serves what a test puts into `paths`, and a kubeconfig that leads to it. */
export class StubCluster {
  readonly stub: StubApiServer;
  readonly folder: string;
  readonly kubeconfig: string;
  /** Paths without their query. What is not here is 404. */
  readonly paths = new Map<string, Served>();
  /** Paths, and their queries, as they were asked for. */
  readonly asked: Asked[] = [];

  private constructor(stub: StubApiServer, folder: string) {
    this.stub = stub;
    this.folder = folder;
    this.kubeconfig = this.writeKubeconfig("kubeconfig", { token: "secret" });
    void this.#serve();
  }

  static async start(): Promise<StubCluster> {
    return new StubCluster(await StubApiServer.start(), mkdtempSync(join(tmpdir(), "sallyport-plugin-")));
  }

  /** `user`: as a kubeconfig has it. */
  writeKubeconfig(name: string, user: object, context: object = {}): string {
    const path = join(this.folder, name);
    const ca = Buffer.from(this.stub.ca).toString("base64");
    const config = {
      "current-context": "here",
      contexts: [
        { name: "here", context: { cluster: "c", user: "u", ...context } },
        { name: "elsewhere", context: { cluster: "gone", user: "u" } },
      ],
      clusters: [
        { name: "c", cluster: { server: this.stub.access.server, "certificate-authority-data": ca } },
        { name: "gone", cluster: { server: "https://127.0.0.1:1", "certificate-authority-data": ca } },
      ],
      users: [{ name: "u", user }],
    };
    writeFileSync(path, JSON.stringify(config));
    return path;
  }

  /** 403, in the API server's words. */
  forbid(path: string): void {
    this.paths.set(path, (asked: Asked) =>
      answer(asked, { kind: "Status", message: `User "anna" cannot read \`${path}\`` }, 403),
    );
  }

  /** Runs `kubectl sallyport`, in this process: one at a time. */
  async plugin(...words: readonly string[]): Promise<Ended> {
    const given =
      words.includes("--kubeconfig") || words[0] === "__complete" ? words : [...words, "--kubeconfig", this.kubeconfig];
    const [stdout, stderr] = [captured(process.stdout), captured(process.stderr)];
    const before = process.exitCode;
    const listeners = process.stdout.listeners("error");
    try {
      await run(["kubectl", ...given]);
      return { status: Number(process.exitCode ?? 0), stdout: stdout.end(), stderr: stderr.end() };
    } finally {
      stdout.end();
      stderr.end();
      process.exitCode = before;
      for (const listener of process.stdout.listeners("error")) {
        if (!listeners.includes(listener)) process.stdout.removeListener("error", listener as () => void);
      }
    }
  }

  /** The same as a process of its own, that can be ended as Ctrl-C does. */
  start(...words: readonly string[]): {
    readonly child: ChildProcess;
    readonly ended: Promise<Ended>;
    readonly stdout: () => string;
  } {
    const main = join(root, "src/cli/main.ts");
    const child = spawn(process.execPath, [main, "kubectl", ...words], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", KUBECONFIG: this.kubeconfig },
      timeout: 60_000,
    });
    const read = (stream: NodeJS.ReadableStream): (() => string) => {
      let text = "";
      stream.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      return () => text;
    };
    const [stdout, stderr] = [read(child.stdout), read(child.stderr)];
    const ended = new Promise<Ended>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (status) => resolve({ status, stdout: stdout(), stderr: stderr() }));
    });
    return { child, ended, stdout };
  }

  async close(): Promise<void> {
    await this.stub.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #serve(): Promise<void> {
    for (;;) {
      const asked = await this.stub.next();
      this.asked.push(asked);
      const served = this.paths.get(asked.url.pathname);
      if (served === undefined) answer(asked, { kind: "Status", message: "not found" }, 404);
      else if (typeof served === "function") served(asked);
      else if (typeof served === "string") {
        asked.stream.respond({ ":status": 200, "content-type": "text/plain" });
        asked.stream.end(served);
      } else if ("items" in served) answer(asked, { metadata: { resourceVersion: "1" }, ...served });
      else answer(asked, served);
    }
  }
}

/** What is written to a stream from now on, instead of writing it. */
function captured(stream: NodeJS.WriteStream): { end(): string } {
  const write = stream.write;
  let text = "";
  stream.write = ((piece: string | Uint8Array) => {
    text += typeof piece === "string" ? piece : Buffer.from(piece).toString("utf8");
    return true;
  }) as typeof stream.write;
  return {
    end: () => {
      stream.write = write;
      return text;
    },
  };
}
