import { type Family, single } from "./family.ts";
import type { AgentNumbers } from "./numbers.ts";

/** What is kept outside the agent: its journal, and the kernel's table of flows. */
export const KEPT_FAMILIES: readonly Family<AgentNumbers>[] = [
  single(
    "counter",
    "sallyport_journal_records_total",
    "Records appended to the journal, those of compactions left out.",
    ({ journal }) => journal.counters.records,
  ),
  single(
    "counter",
    "sallyport_journal_unwritten_total",
    "Records that the disk refused or that found no room while they waited; the next success writes everything anew. Until then a restart would remember less.",
    ({ journal }) => journal.counters.unwritten,
  ),
  single(
    "counter",
    "sallyport_journal_failures_total",
    "Times that the journal could not be written. Rising: the disk of the state folder is full or not the agent's.",
    ({ journal }) => journal.counters.failures,
  ),
  single(
    "counter",
    "sallyport_journal_left_out_total",
    "Bindings and flows for which the journal had no room.",
    ({ journal }) => journal.counters.leftOut,
  ),
  single("gauge", "sallyport_journal_bytes", "Size of the journal.", ({ journal }) => journal.counters.size),
  single(
    "gauge",
    "sallyport_conntrack_entries",
    "Flows that the kernel tracks in the agent's network namespace.",
    ({ kernel }) => kernel.conntrack?.entries ?? null,
  ),
  single(
    "gauge",
    "sallyport_conntrack_limit",
    "How many it may track. A full table lets no new flow through, of no pod.",
    ({ kernel }) => kernel.conntrack?.limit ?? null,
  ),
  single(
    "counter",
    "sallyport_conntrack_dropped_packets_total",
    "Packets that the kernel dropped because its table of flows was full; since the namespace exists. Any: raise `net.netfilter.nf_conntrack_max`, or find the pod that opens them.",
    ({ kernel }) => kernel.conntrack?.dropped ?? null,
  ),
];
