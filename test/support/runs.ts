/** Runs of a property: as many as it says, times `FUZZ` of the environment (`FUZZ=10` looks longer). */
export function runs(count: number): number {
  const times = Number(process.env["FUZZ"] ?? 1);
  return Math.max(1, Math.round(count * (times > 0 ? times : 1)));
}
