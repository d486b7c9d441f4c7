import { ANSWER } from "../model/verdict.ts";
import { leave, takeHeld } from "./flow-life.ts";
import type { Lane } from "./lane.ts";
import type { TcpFlow } from "./tcp-flow.ts";

/**
 * An allowed TLS flow whose hello is all that the client has sent, and goes now: the kernel hands it over at the server's first
 * record, unasked (docs/adr/0013-server-hello.md). What is needed if something else comes is kept, and the flow is left. False: it is
 * to be followed as any other.
 */
export function prove(lane: Lane, flow: TcpFlow, now: number): boolean {
  const { client, held } = flow;
  if (flow.hello !== "first" || flow.again || flow.finAt >= 0 || !flow.serverKnown) return false;
  if (client.next !== flow.inspectedEnd || client.waiting > 0 || held.length === 0) return false;
  if (held.some(({ fromServer, fin, end }) => fromServer || fin || end > client.next)) return false;
  if (!lane.hellos.keep(flow, now)) return false;
  lane.names.touch(flow.workloadId, flow.facts.address, now);
  while (held.length > 1) lane.answer(takeHeld(lane, flow, 0).id, ANSWER.pass);
  lane.answer(takeHeld(lane, flow, 0).id, ANSWER.prove);
  leave(lane, flow, 0);
  return true;
}
