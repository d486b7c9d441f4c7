/** Interleaved rounds: in each, every contender carries the same load once, in an order that turns from round to round. */
import { calm, Neighbours } from "./calm.ts";
import { CONTENDERS, type Contender, LOADS, type Load, type LoadResult, labOf, runLoad } from "./loads.ts";
import { pause, type Stage } from "./stage.ts";
import { type Summary, summarize } from "./statistics.ts";

export interface LoadMeasure {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly better: "more" | "less";
  /** Runs during which others took more than a twelfth of the machine. */
  readonly disturbed: number;
  readonly results: Readonly<Partial<Record<Contender, Summary & { readonly failed: number; readonly p99: number }>>>;
}

export interface RoundOptions {
  /** Part of each round's time that is taken, and most rounds. */
  readonly scale: number;
  readonly rounds: number;
  readonly only: readonly string[];
  /** How long a run waits for the machine to idle, and how often it is repeated because others ran beside it. */
  readonly calmMs: number;
  readonly repeats: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

const DISTURBED = 1 / 12;
const SETTLE_MS = 250;
/** Entries end a second after their connection, and the agent records that: not on the next contender's time. */
const RECORDS_MS = 1500;

export async function measureLoads(stage: Stage, options: RoundOptions): Promise<LoadMeasure[]> {
  const measures: LoadMeasure[] = [];
  for (const load of LOADS) {
    if (options.only.length > 0 && !options.only.includes(load.id)) continue;
    if (load.denied !== undefined) await checkDenials(stage, load);
    measures.push(await measureLoad(stage, load, options));
  }
  return measures;
}

async function measureLoad(stage: Stage, load: Load, options: RoundOptions): Promise<LoadMeasure> {
  const values = new Map<Contender, number[]>();
  const failed = new Map<Contender, number>();
  const tails = new Map<Contender, number[]>();
  const seconds = Math.max(0.5, load.seconds * options.scale);
  const neighbours = await Neighbours.of([stage.free, stage.gate, stage.limit]);
  let disturbed = 0;
  // An agent that has run for a while is what counts: what it does for the first time is compiled.
  await runLoad(stage, load, "sallyport", seconds);
  for (let round = 0; round < Math.min(load.rounds, options.rounds); round++) {
    for (let at = 0; at < CONTENDERS.length; at++) {
      options.signal.throwIfAborted();
      const contender = CONTENDERS[(at + round) % CONTENDERS.length]!;
      if (labOf(stage, load, contender) === null) continue;
      const { result, foreign } = await undisturbed(options, neighbours, () =>
        runLoad(stage, load, contender, seconds),
      );
      if (foreign > DISTURBED) disturbed++;
      if (result === null) continue;
      append(values, contender, load.value(result));
      append(tails, contender, result.p99);
      failed.set(contender, (failed.get(contender) ?? 0) + result.failed);
      options.say(`${load.id} round ${round + 1} ${contender}: ${load.value(result)} ${load.unit}`);
      await pause(contender === "sallyport" ? RECORDS_MS : SETTLE_MS);
    }
  }
  const results = [...values].map(([contender, of]) => [
    contender,
    { ...summarize(of), failed: failed.get(contender) ?? 0, p99: summarize(tails.get(contender) ?? [0]).median },
  ]);
  const { id, title, unit, better } = load;
  return { id, title, unit, better, disturbed, results: Object.fromEntries(results) };
}

/** Repeats a run while others disturb it, and answers the least disturbed one. */
async function undisturbed(
  options: RoundOptions,
  neighbours: Neighbours,
  run: () => Promise<LoadResult | null>,
): Promise<{ result: LoadResult | null; foreign: number }> {
  let best: { result: LoadResult | null; foreign: number } | null = null;
  for (let attempt = 0; attempt <= options.repeats; attempt++) {
    await calm(options.calmMs);
    const foreignSince = neighbours.watch();
    const result = await run();
    const foreign = foreignSince();
    if (best === null || foreign < best.foreign) best = { result, foreign };
    if (best.foreign <= DISTURBED) break;
  }
  return best ?? { result: null, foreign: 1 };
}

/** A contender that lets everything through would win: each must refuse what its rules do not allow. */
async function checkDenials(stage: Stage, load: Load): Promise<void> {
  if (load.denied === undefined) return;
  const denied: Load = { ...load, request: load.denied, concurrency: 1, most: 3 };
  for (const contender of CONTENDERS) {
    if (contender === "none" || contender === "queue" || labOf(stage, denied, contender) === null) continue;
    const result = await runLoad(stage, denied, contender, 1);
    if (result !== null && result.done > 0) {
      throw new Error(`\`${contender}\` let through what it must refuse in \`${load.id}\`: see its rules`);
    }
  }
}

function append<K>(map: Map<K, number[]>, key: K, value: number): void {
  const list = map.get(key) ?? [];
  list.push(value);
  map.set(key, list);
}
