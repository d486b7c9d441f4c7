import type { Decision } from "../model/decision.ts";

const MOST = 400;

/**
 * The HTTP answer to a denied request. It names policy, rule, reason and flow, so that a developer finds the line in the
 * policy; it echoes nothing of the request, which is hostile text and may hold secrets in path or query.
 */
export function forbiddenResponse(flowId: string, decision: Decision): Uint8Array {
  const body = `${JSON.stringify({
    error: "denied by Sallyport",
    policy: clip(decision.policy),
    rule: clip(decision.rule),
    reason: decision.reason,
    flow: flowId,
  })}\n`;
  const bytes = ascii(body);
  const head =
    "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n" +
    `Content-Length: ${bytes.length}\r\nConnection: close\r\n\r\n`;
  const response = new Uint8Array(head.length + bytes.length);
  response.set(ascii(head));
  response.set(bytes, head.length);
  return response;
}

function clip(text: string | null): string | null {
  return text === null ? null : text.slice(0, MOST);
}

/** Names of policies and rules are ASCII by schema; anything else becomes a question mark. */
function ascii(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    bytes[i] = code < 0x80 ? code : 63;
  }
  return bytes;
}
