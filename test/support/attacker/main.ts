/**
 * The hostile pod: reads scripts (JSON, an array) from standard input, follows all of them at once, and prints what came of each.
 * It runs in the pod's network namespace, whose kernel must not reset connections that it does not know (`quiet` in pod.ts).
 */
import { readFileSync } from "node:fs";
import { type Address, parseAddress, sameAddress } from "../../../src/net/address.ts";
import { destinationAddress } from "../../../src/packet/ip.ts";
import { Connection } from "./connection.ts";
import type { Outcome, Script } from "./script.ts";
import { pause, Wire } from "./wire.ts";

const wire = new Wire();
const connections = new Map<number, Connection>();

async function follow(script: Script): Promise<Outcome> {
  const connection = new Connection(wire, script);
  connections.set(script.from, connection);
  for (const step of script.steps) {
    if (step.do === "open") await connection.open(step);
    else if (step.do === "send") connection.send(step);
    else if (step.do === "packet") wire.send(Buffer.from(step.bytes, "base64"));
    else if (step.do === "wait") await pause(step.ms);
    else {
      const until = performance.now() + step.ms;
      const enough = () => connection.count >= step.count || connection.reset || connection.ended;
      while (!enough() && performance.now() < until) await pause(5);
    }
  }
  return connection.outcome();
}

function takeIcmp(bytes: Uint8Array, at: number, six: boolean): void {
  const inner = at + 8;
  const ports = inner + (six ? 40 : (bytes[inner]! & 15) * 4);
  const port = (bytes[ports]! << 8) | bytes[ports + 1]!;
  connections.get(port)?.complaint(bytes[at]!, bytes[at + 1]!);
}

const scripts = JSON.parse(readFileSync(0, "utf8")) as Script[];
const own: Address[] = [...new Set(scripts.map((script) => script.source))].map((text) => parseAddress(text)!);

function listen(): void {
  wire.drain((bytes, readable) => {
    const { packet } = wire;
    if (!readable || !own.some((address) => sameAddress(address, destinationAddress(packet)))) return;
    if (packet.protocol === 6) {
      const connection = connections.get(packet.destinationPort);
      if (connection !== undefined) connection.take(packet);
    } else if (packet.protocol === 1 && bytes[packet.transport]! === 3) takeIcmp(bytes, packet.transport, false);
    else if (packet.protocol === 58 && bytes[packet.transport]! < 128) takeIcmp(bytes, packet.transport, true);
  });
}

const listening = setInterval(listen, 1);
const outcomes = await Promise.all(scripts.map(follow));
clearInterval(listening);
wire.close();
process.stdout.write(JSON.stringify(outcomes));
