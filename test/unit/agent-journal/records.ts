import { frame, HEADER } from "../../../src/agent/journal/frame.ts";
import { type JournalRecord, RecordEncoder, type RememberedFlow } from "../../../src/agent/journal/record.ts";
import { eventOf } from "../../../src/flow/live-flows.ts";
import { EventPacker } from "../../../src/flow/packed-event.ts";
import { ipv4 } from "../../../src/net/address.ts";
import { allowed, factsTo, tupleTo } from "../flow/events.ts";

export function remembered(port: number, more: Partial<RememberedFlow> = {}): RememberedFlow {
  return {
    flowId: port,
    run: "0badcafe",
    tuple: tupleTo(port),
    application: "TLS",
    name: "api.github.com",
    facts: factsTo("api.github.com"),
    decision: allowed,
    since: 1_700_000_000_000,
    ...more,
  };
}

export function opened(port: number, key = "uid-1", more: Partial<RememberedFlow> = {}): JournalRecord {
  return { kind: "opened", key, flow: remembered(port, more) };
}

export function closed(port: number): JournalRecord {
  return { kind: "closed", tuple: tupleTo(port) };
}

export function binding(name: string, expires = 4e12, key = "uid-1", aliases: readonly string[] = []): JournalRecord {
  return { kind: "binding", key, binding: { address: ipv4(0xc0000201), name, aliases, expires } };
}

/** The frame of a record; null where it does not fit. */
export function frameOf(record: JournalRecord): Buffer | null {
  const encoder = new RecordEncoder();
  const length =
    record.kind === "binding"
      ? encoder.binding(record.key, record.binding)
      : record.kind === "opened"
        ? encoder.opened(
            record.key,
            record.flow.run,
            new EventPacker().pack(eventOf({ ...record.flow, workloadId: 0 })),
          )
        : encoder.closed(record.tuple);
  return length === 0 ? null : frame(encoder.bytes, length);
}

export function journalOf(...records: readonly JournalRecord[]): Buffer {
  return Buffer.concat([HEADER, ...records.map((record) => frameOf(record) as Buffer)]);
}
