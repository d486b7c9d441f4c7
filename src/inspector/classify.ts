import { readRequestHead } from "../packet/http/head.ts";
import { readClientHello } from "../packet/tls.ts";
import type { TcpFlow } from "./tcp-flow.ts";

/**
 * Reads the client's first bytes and puts what they reveal into the facts. False: more bytes are needed. TLS and HTTP
 * are told apart by their first byte; bytes that are neither are `Other`, which carries no name.
 */
export function classify(flow: TcpFlow): boolean {
  const count = flow.client.unread;
  if (count < flow.needed || count === 0) return false;
  const buf = flow.client.buffer;
  const hello = readClientHello(buf, 0, count);
  switch (hello.kind) {
    case "need":
      flow.needed = hello.atLeast;
      return false;
    case "malformed":
      reveal(flow, "TLS", null, true);
      flow.malformed = true;
      return true;
    case "hello":
      reveal(flow, "TLS", hello.serverName, hello.serverName === null);
      flow.facts.encryptedClientHello = hello.encryptedClientHello;
      flow.inspectedEnd = flow.client.bufferStart + hello.consumedEnd;
      flow.hello = "first";
      return true;
    case "notTls":
      return classifyText(flow, buf, count);
  }
}

/** What is known at the end of facts (time-out, FIN, bounds) of bytes that were never complete. */
export function classifyRest(flow: TcpFlow): void {
  if (flow.classified) return;
  const first = flow.client.unread > 0 ? flow.client.buffer[0]! : -1;
  if (first < 0) reveal(flow, "Other", null, false);
  else if (first >= 20 && first <= 23) reveal(flow, "TLS", null, true);
  else {
    const text = readRequestHead(flow.client.buffer, 0, flow.client.unread);
    reveal(flow, text.kind === "notHttp" ? "Other" : "HTTP", null, text.kind !== "notHttp");
  }
  flow.inspectedEnd = flow.client.next;
}

function classifyText(flow: TcpFlow, buf: Uint8Array, count: number): boolean {
  const head = readRequestHead(buf, 0, count, flow.scanned);
  switch (head.kind) {
    case "need":
      flow.scanned = head.scanned;
      return false;
    case "malformed":
      reveal(flow, "HTTP", null, true);
      flow.malformed = true;
      return true;
    case "http2":
      // Header compression would have to be undone to see names: unreadable, so its name is hidden.
      reveal(flow, "HTTP", null, true);
      return true;
    case "notHttp":
      reveal(flow, "Other", null, false);
      flow.inspectedEnd = flow.client.next;
      return true;
    case "head":
      // HTTP/1.0 without a Host hides its name; an address in its place is no name.
      reveal(flow, "HTTP", head.host, head.host === null && !head.hostIsAddress);
      flow.facts.method = head.method;
      flow.facts.path = head.path;
      flow.inspectedEnd = flow.client.bufferStart + head.headEnd;
      return true;
  }
}

function reveal(flow: TcpFlow, application: "TLS" | "HTTP" | "Other", evidence: string | null, hidden: boolean): void {
  const facts = flow.facts;
  facts.application = application;
  facts.evidence = evidence;
  facts.nameHidden = hidden;
  facts.encryptedClientHello = false;
  facts.method = null;
  facts.path = null;
  flow.classified = true;
  flow.inspectedEnd = flow.client.next;
}
