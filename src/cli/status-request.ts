import { type RequestOptions, request } from "node:http";
import { parseListen } from "../agent/metrics/listen-address.ts";
import { UsageError } from "./failure.ts";

const LIMIT_MS = 10_000;
const MOST_BYTES = 4 * 1024 * 1024;

/** `http://ADDRESS:PORT`, `ADDRESS:PORT` or `unix:/path`. @throws UsageError that says what to write */
export function parseAgentAddress(text: string): RequestOptions {
  const address = parseListen(text.replace(/^http:\/\//, "").replace(/\/$/, ""));
  if (address === null) {
    throw new UsageError(
      `\`--agent ${text}\`: write http://ADDRESS:PORT or unix:/path, as the agent's \`--listen\` has it`,
    );
  }
  return address.kind === "unix" ? { socketPath: address.path } : { host: address.host, port: address.port };
}

/** The body of the answer. @throws UsageError when there is none */
export function ask(to: RequestOptions, path: string): Promise<string> {
  const where = to.socketPath === undefined ? `${to.host}:${to.port}` : `unix:${to.socketPath}`;
  return new Promise((resolve, reject) => {
    const fail = (why: string): void =>
      reject(new UsageError(`no agent answers at \`${where}\` (${why}): is it running, here, with that \`--listen\`?`));
    const call = request({ ...to, path, signal: AbortSignal.timeout(LIMIT_MS) }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
        if (text.length > MOST_BYTES) call.destroy(new Error("its answer has no end"));
      });
      response.on("error", (error) => fail(error.message));
      response.on("end", () => (response.statusCode === 200 ? resolve(text) : fail(`HTTP ${response.statusCode}`)));
    });
    call.on("error", (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
    call.end();
  });
}
