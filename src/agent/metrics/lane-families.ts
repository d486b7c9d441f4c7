import { type Family, labelled, single } from "./family.ts";
import { latencyFamily } from "./latency-family.ts";
import { type AgentNumbers, laneNumber } from "./numbers.ts";

const lane =
  (slot: Parameters<typeof laneNumber>[1]) =>
  (numbers: AgentNumbers): number =>
    laneNumber(numbers, slot);

/** What the packet lane counts, and the kernel about its queues. */
export const LANE_FAMILIES: readonly Family<AgentNumbers>[] = [
  latencyFamily(
    "sallyport_verdict_seconds",
    "Time from the end of the read that brought a packet to the end of the send that answered its batch. Not in it: the wait in the kernel's queue (see sallyport_queue_waiting_packets), and for held packets the time they are held. High: the node is short of CPU.",
    ({ laneNumbers }) => laneNumbers.verdictTimes(),
  ),
  single("counter", "sallyport_packets_total", "Packets that the lane received from the kernel.", lane("packets")),
  single(
    "gauge",
    "sallyport_lane_waiting_packets",
    "Packets that the lane holds without a verdict: of unknown sources, waiting for a name to be resolved, or for more of a stream.",
    lane("waiting"),
  ),
  labelled(
    "gauge",
    "sallyport_queue_waiting_packets",
    "Packets that wait in the kernel for a verdict. Near 8192 the queue is full and drops: the node is short of CPU or a pod floods.",
    "queue",
    ({ kernel }) => kernel.queues.flatMap((q) => (q.statistics ? [[q.queue, q.statistics.waiting] as const] : [])),
  ),
  {
    name: "sallyport_queue_dropped_packets_total",
    type: "counter",
    help: "Packets that the kernel dropped before the lane saw them: where=queue because the queue was full, where=socket because the socket's buffer was. Begins anew with every lane. Rising: see sallyport_queue_waiting_packets.",
    read: ({ kernel }) =>
      kernel.queues.flatMap(({ queue, statistics }) =>
        statistics === null
          ? []
          : [
              { labels: { queue, where: "queue" }, value: statistics.queueDropped },
              { labels: { queue, where: "socket" }, value: statistics.userDropped },
            ],
      ),
  },
  single(
    "counter",
    "sallyport_policed_workloads_total",
    "Times that a workload crowded the queue and was held to a rate (docs/guide/limits.md). Any: the log line `flood-policed` names it.",
    ({ floods }) => floods.policed,
  ),
  single(
    "counter",
    "sallyport_crowding_workloads_total",
    "Times that a workload had more than its share of conntrack and was kept from opening flows (docs/guide/limits.md). Any: the log line `conntrack-crowded` names it.",
    ({ floods }) => floods.crowding,
  ),
  labelled(
    "counter",
    "sallyport_flood_dropped_packets_total",
    "Packets of a workload beyond the rate, or the share of conntrack, that it was held to. Those of sources that no workload owns are in sallyport_rules_packets_total, policed_unknown.",
    "workload",
    ({ kernel }) => kernel.floods,
  ),
  single(
    "counter",
    "sallyport_verdicts_lost_total",
    "Verdicts that could not be sent; their packets stay in the kernel's queue until the lane is renewed. Any: read the agent's log.",
    lane("lostVerdicts"),
  ),
  single(
    "counter",
    "sallyport_verdicts_refused_total",
    "Verdicts that the kernel refused, because the packet had gone. Many: packets vanish while they are held, as interfaces do.",
    lane("refusedVerdicts"),
  ),
  single(
    "counter",
    "sallyport_inject_errors_total",
    "Answers (DNS, HTTP 403, TLS alerts) that could not be sent to a pod; the flow is denied all the same.",
    lane("injectErrors"),
  ),
  single(
    "counter",
    "sallyport_malformed_packets_total",
    "Packets that cannot be read in one way only; denied for isolated workloads. Rising: look for the pod in the flow log, reason Malformed.",
    lane("malformed"),
  ),
  single("counter", "sallyport_held_packets_total", "Packets that were held before they got a verdict.", lane("held")),
  single(
    "counter",
    "sallyport_ambiguous_copies_total",
    "TCP segments sent again with other content: an attempt at evasion or a broken sender. Any: look for reason AmbiguousCopy in the flow log.",
    lane("ambiguousCopies"),
  ),
  single(
    "counter",
    "sallyport_dropped_copies_total",
    "TCP copies that were dropped because what they copy is no longer kept. Harmless unless a connection stalls.",
    lane("droppedCopies"),
  ),
  single(
    "counter",
    "sallyport_limits_reached_total",
    "Times that a workload had used up one of its bounds and was denied for it. Rising: find it by reason LimitReached, then raise `limits` or mend the pod.",
    lane("limitReached"),
  ),
  single(
    "counter",
    "sallyport_unknown_sources_total",
    "Packets from addresses of this node's pod ranges that no workload owns yet. Rising steadily: the list of workloads is behind.",
    lane("unknownSources"),
  ),
  single("counter", "sallyport_dns_questions_total", "DNS questions that were judged.", lane("dnsQuestions")),
  single(
    "counter",
    "sallyport_dns_denied_total",
    "DNS questions that were denied, without those that only a search list made. Rising: see the flow log for the names.",
    lane("dnsDenied"),
  ),
  single(
    "counter",
    "sallyport_dns_unasked_total",
    "DNS answers that match no question and were dropped. Many: somebody forges answers, or a resolver answers late.",
    lane("dnsUnasked"),
  ),
  single("gauge", "sallyport_bindings", "Names bound to addresses for the workloads of this node.", lane("bindings")),
  single(
    "counter",
    "sallyport_bindings_evicted_total",
    "Bindings dropped before their time because a workload has too many. Rising: raise `limits.bindings`, or its next connections wait for a look-up.",
    lane("evicted"),
  ),
  single(
    "counter",
    "sallyport_resolutions_total",
    "Look-ups that the lane asked of the agent's own resolver, because a workload's were not seen.",
    lane("resolutions"),
  ),
  single(
    "gauge",
    "sallyport_lane_flows",
    "Flows that the lane still reads; the others are the kernel's.",
    lane("flows"),
  ),
  single(
    "counter",
    "sallyport_lane_restarts_total",
    "Packet lanes that were replaced because they died or hung. Any: report it with the log line `lane-replaced`.",
    (numbers) => numbers.lane.restarts,
  ),
];
