import { type ChildProcess, spawn } from "node:child_process";
import {
  type ClusterAccess,
  CredentialError,
  type CredentialPlugin,
  CredentialReader,
  type CredentialSource,
  type Credentials,
} from "./access.ts";
import { fields } from "./object.ts";

export interface PluginTimes {
  /** A program that cannot ask anybody is ended after this time. */
  readonly aloneMs: number;
  /** One that may ask, perhaps by way of a browser. */
  readonly askingMs: number;
  /** Between the request to end and the end by force. */
  readonly graceMs: number;
}

export const PLUGIN_TIMES: PluginTimes = { aloneMs: 60_000, askingMs: 300_000, graceMs: 2_000 };

/** Credentials are asked for anew this long before they end. */
const EARLY_MS = 10_000;
const MOST_BYTES = 1024 * 1024;

/**
 * Credentials that a program gives (`exec` of a kubeconfig; ExecCredential of `client.authentication.k8s.io`): kept until they expire or
 * are refused. What the kubeconfig itself says of the server stays.
 */
export class PluginCredentials implements CredentialSource {
  readonly #base: CredentialReader;
  readonly #access: ClusterAccess;
  readonly #plugin: CredentialPlugin;
  readonly #times: PluginTimes;
  readonly #terminal: boolean;
  readonly #signal: AbortSignal;
  #known: Credentials | null = null;
  /** Milliseconds of Unix time. */
  #expires = 0;
  #asking: Promise<Credentials> | null = null;

  /** `terminal`: somebody is there who can be asked. `signal`: nobody wants to know any more. */
  constructor(
    access: ClusterAccess,
    plugin: CredentialPlugin,
    terminal: boolean,
    signal: AbortSignal,
    times = PLUGIN_TIMES,
  ) {
    this.#base = new CredentialReader(access);
    this.#access = access;
    this.#plugin = plugin;
    this.#terminal = terminal;
    this.#signal = signal;
    this.#times = times;
  }

  /** Rejects with an Error of one line for the user. */
  read(anew: boolean): Credentials | Promise<Credentials> {
    if (this.#known !== null && !anew && Date.now() < this.#expires) return this.#known;
    // Requests that come together ask once.
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #ask(): Promise<Credentials> {
    const { interactive } = this.#plugin;
    if (interactive === "Always" && !this.#terminal) {
      throw new CredentialError(
        `\`${this.#plugin.command}\` of the kubeconfig has to ask somebody, and there is no terminal`,
      );
    }
    const asks = interactive !== "Never" && this.#terminal;
    const { status, expires } = readCredential(await this.#run(asks), this.#plugin);
    const { token, clientCertificateData, clientKeyData } = status;
    const base = this.#base.read();
    const text = (value: unknown): string | null => (typeof value === "string" && value !== "" ? value : null);
    this.#known = {
      ca: base.ca,
      certificate: text(clientCertificateData) ?? base.certificate,
      key: text(clientKeyData) ?? base.key,
      token: text(token)?.trim() ?? base.token,
    };
    this.#expires = expires - EARLY_MS;
    return this.#known;
  }

  #run(asks: boolean): Promise<string> {
    const { command, args, env } = this.#plugin;
    const limitMs = asks ? this.#times.askingMs : this.#times.aloneMs;
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        // What it says to people goes to them; only its standard output is for us.
        stdio: [asks ? "inherit" : "ignore", "pipe", "inherit"],
        env: { ...process.env, ...env, KUBERNETES_EXEC_INFO: this.#request(asks) },
        // Of its own group, so that what it starts ends with it; on a terminal it stays in the group that Ctrl-C ends.
        detached: !this.#terminal,
      });
      let output = "";
      let late = false;
      const end = (): void => endProgram(child, !this.#terminal, this.#times.graceMs);
      this.#signal.addEventListener("abort", end, { once: true });
      const timer = setTimeout(() => {
        late = true;
        end();
      }, limitMs);
      child.stdout!.setEncoding("utf8").on("data", (piece: string) => {
        output += piece;
        if (output.length > MOST_BYTES) end();
      });
      child.on("error", (error) => {
        clearTimeout(timer);
        reject(cannotStart(this.#plugin, error));
      });
      child.on("close", (code, signal) => {
        clearTimeout(timer);
        this.#signal.removeEventListener("abort", end);
        if (late)
          reject(new CredentialError(`\`${command}\` of the kubeconfig gave no credential within ${limitMs / 1000} s`));
        else if (output.length > MOST_BYTES)
          reject(new CredentialError(`\`${command}\` of the kubeconfig talks without an end`));
        else if (code === 0) resolve(output);
        else
          reject(
            new CredentialError(
              `\`${command}\` of the kubeconfig failed (${signal ?? `exit status ${code}`}): log in with it again`,
            ),
          );
      });
    });
  }

  /** The ExecCredential that the program is given. */
  #request(interactive: boolean): string {
    const { apiVersion, cluster } = this.#plugin;
    const told = cluster === null ? {} : { cluster: { ...cluster, server: this.#access.server } };
    return JSON.stringify({ apiVersion, kind: "ExecCredential", spec: { interactive, ...told } });
  }
}

function cannotStart({ command, installHint }: CredentialPlugin, error: NodeJS.ErrnoException): CredentialError {
  const hint = installHint === null ? "install it, or put it on the PATH" : (installHint.trim().split("\n")[0] ?? "");
  const why = error.code === "ENOENT" ? "is not there" : `cannot be started (${error.code ?? error.message})`;
  return new CredentialError(`\`${command}\`, which the kubeconfig logs in with, ${why}: ${hint}`);
}

/** `group`: with all that it has started. */
function endProgram(child: ChildProcess, group: boolean, graceMs: number): void {
  const { pid } = child;
  if (pid === undefined) return;
  const send = (signal: NodeJS.Signals): void => {
    try {
      process.kill(group ? -pid : pid, signal);
    } catch {
      // It is over already.
    }
  };
  send("SIGTERM");
  const force = setTimeout(() => send("SIGKILL"), graceMs);
  child.once("exit", () => {
    clearTimeout(force);
    if (group) send("SIGKILL");
  });
  // Nothing more is read, whoever else still holds the other end.
  child.stdout?.destroy();
}

/** @throws Error one line */
function readCredential(
  output: string,
  { command, apiVersion }: CredentialPlugin,
): { readonly status: Readonly<Record<string, unknown>>; readonly expires: number } {
  const wrong = (what: string): CredentialError =>
    new CredentialError(`\`${command}\` of the kubeconfig gave no credential: ${what}`);
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch {
    throw wrong("what it prints is no JSON");
  }
  const credential = fields(value);
  if (credential["kind"] !== "ExecCredential") throw wrong("it prints no ExecCredential");
  if (credential["apiVersion"] !== apiVersion) {
    throw wrong(`it speaks \`${String(credential["apiVersion"])}\`, the kubeconfig asks for \`${apiVersion}\``);
  }
  const status = fields(credential["status"]);
  const { token, clientCertificateData, clientKeyData, expirationTimestamp } = status;
  if ((clientCertificateData === undefined) !== (clientKeyData === undefined)) {
    throw wrong("a client certificate and its key come together");
  }
  if (token === undefined && clientCertificateData === undefined)
    throw wrong("neither a token nor a client certificate");
  if (expirationTimestamp === undefined || expirationTimestamp === null) return { status, expires: Infinity };
  const expires = Date.parse(String(expirationTimestamp));
  if (Number.isNaN(expires)) throw wrong("`expirationTimestamp` is no time");
  return { status, expires };
}
