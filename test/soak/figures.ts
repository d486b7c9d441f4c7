/** What a pod's traffic is to be. */
export interface TrafficPlan {
  /** URLs of slow answers. */
  readonly downloads: readonly string[];
  /** URLs that are asked for once, each over a new connection. */
  readonly probes: readonly string[];
  readonly everyMs: number;
}

export interface DownloadFigures {
  readonly url: string;
  begun: number;
  complete: number;
  /** Ended after its first byte and before its last. */
  broken: number;
  bytes: number;
  longestSilenceMs: number;
}

export interface ProbeFigures {
  readonly url: string;
  /** Clients; each tries up to three times. */
  asked: number;
  attempts: number;
  ok: number;
  /** At the first try. */
  okAtOnce: number;
  /** Between two that succeeded. */
  longestGapMs: number;
  /** From asking to the answer, retries included. */
  readonly times: number[];
}

export interface TrafficFigures {
  readonly downloads: readonly DownloadFigures[];
  readonly probes: readonly ProbeFigures[];
}

/** The value below which this part of them lies; NaN of none. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
}

/** Least-squares slope of `y` over `x`; 0 where there are not two points. */
export function slope(points: readonly { readonly x: number; readonly y: number }[]): number {
  const mean = (of: (point: { readonly x: number; readonly y: number }) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const x = mean((point) => point.x);
  const y = mean((point) => point.y);
  const spread = points.reduce((sum, point) => sum + (point.x - x) ** 2, 0);
  return spread === 0 ? 0 : points.reduce((sum, point) => sum + (point.x - x) * (point.y - y), 0) / spread;
}
