import type { Family, Sample } from "./family.ts";
import { LATENCY_BOUNDS_MS, latencyCount, latencySumMs } from "./latency.ts";

/** A histogram of seconds from the slots of a LatencyHistogram. */
export function latencyFamily<Source>(
  name: string,
  help: string,
  slots: (source: Source) => Float64Array,
): Family<Source> {
  return { name, type: "histogram", help, read: (source) => samplesOf(slots(source)) };
}

function samplesOf(slots: Float64Array): Sample[] {
  const count = latencyCount(slots);
  let below = 0;
  const buckets = LATENCY_BOUNDS_MS.map((bound, bucket) => {
    below += slots[bucket]!;
    return { suffix: "_bucket", labels: { le: bucketName(bound) }, value: below };
  });
  return [
    ...buckets,
    { suffix: "_bucket", labels: { le: "+Inf" }, value: count },
    { suffix: "_sum", value: latencySumMs(slots) / 1000 },
    { suffix: "_count", value: count },
  ];
}

/** Bounds are written as OpenMetrics wants floats: `1.0`, `0.00001`. */
function bucketName(milliseconds: number): string {
  const text = (milliseconds / 1000).toFixed(6).replace(/0+$/, "");
  return text.endsWith(".") ? `${text}0` : text;
}
