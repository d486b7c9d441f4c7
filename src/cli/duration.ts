/** A time span in words, by its two greatest units. */
export function duration(seconds: number): string {
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3_600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

/** How long ago a time (RFC 3339) was; clocks of two machines differ. */
export function ageOf(time: string, now = Date.now()): string {
  const then = Date.parse(time);
  return Number.isNaN(then) ? "?" : duration(Math.max(0, Math.round((now - then) / 1000)));
}
