/** Side by side: until a lane answers, no pod can connect. Waits for both also when one fails. */
export async function both(...starts: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(starts)) if (result.status === "rejected") throw result.reason;
}
