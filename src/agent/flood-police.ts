import { errnoName } from "../kernel/libc.ts";
import { type MarkLayout, wordOf } from "../kernel/marks.ts";
import type { Queue } from "../kernel/queue.ts";
import { BATCH } from "../kernel/queue-batch.ts";
import { TABLE_NAME } from "../kernel/ruleset.ts";
import { POLICE_RATES, POLICED_FOR_S, policedSets } from "../kernel/ruleset-police.ts";
import { SetElements } from "../kernel/set-elements.ts";
import { FROM_SERVER } from "../model/verdict.ts";
import { type Address, addressFromBytes, addressToBytes, isIPv4 } from "../net/address.ts";
import type { Program } from "../program/program.ts";
import { FloodWatch, type Offender } from "./flood-watch.ts";

/** Each so many packets of a crowded queue one is sampled. */
const EACH = 4;

export interface FloodPoliceOptions {
  readonly queue: Queue;
  readonly marks: MarkLayout;
  /** Packets that the lane holds: they wait in the queue, too, but not for the lane. */
  readonly held: () => number;
  /** A pod is policed from now on, at so many packets a second. */
  readonly onPoliced: (address: Address, perSecond: number) => void;
  readonly onTrouble: (message: string) => void;
}

/** Keeps a pod that floods from filling the strict queue: tells the kernel's rules to drop what it asks too much. */
export class FloodPolice {
  readonly #options: FloodPoliceOptions;
  readonly #watch = new FloodWatch();
  readonly #elements = new SetElements(TABLE_NAME);

  constructor(options: FloodPoliceOptions) {
    this.#options = options;
  }

  /** `count` packets lie in the queue's batch, and have been judged. */
  batch(count: number, program: Program, now: number): void {
    const full = count === BATCH;
    const look = this.#watch.batch(count, full, now);
    if (!full) return;
    for (let index = 0; index < count; index += EACH) this.#sample(index, program);
    if (!look) return;
    const { queue, held } = this.#options;
    const backlog = (queue.statistics()?.waiting ?? 0) - held();
    for (const offender of this.#watch.look(backlog, now)) this.#police(offender);
  }

  close(): void {
    this.#elements.close();
  }

  /**
   * Whom the rules would police for this packet: of one that comes from a server the receiver, of the others the sender. If that is no pod of
   * ours, the other end. A pod that answers is policed itself where it is isolated and no resolver: else it would have whom it likes policed,
   * for what comes from port 53 is asked about as an answer.
   */
  #sample(index: number, program: Program): void {
    const { queue, marks } = this.#options;
    const { bytes, offset, length, mark } = queue.batch;
    const at = offset[index]!;
    const four = bytes[at]! >> 4 === 4;
    if (length[index]! < (four ? 20 : 40)) return;
    const size = four ? 4 : 16;
    const source = at + (four ? 12 : 8);
    const fromServer = (wordOf(marks, mark[index]!) & FROM_SERVER) !== 0;
    const sender = addressFromBytes(bytes, source, size);
    const receives = fromServer && !answersItself(program, sender);
    for (const first of [receives, !receives]) {
      const address = first ? addressFromBytes(bytes, source + size, size) : sender;
      if (program.workloadAt(address.w0, address.w1, address.w2, address.w3) < 0) continue;
      this.#watch.sample(address);
      return;
    }
  }

  #police({ address, step, news }: Offender): void {
    const keys = [addressToBytes(address)];
    const timeoutMs = POLICED_FOR_S * 1000;
    const [member, rate] = policedSets(isIPv4(address) ? "4" : "6", step);
    for (const set of [rate, member]) {
      const error = this.#elements.change({ kind: "add", set, keys, timeoutMs });
      // The table may just be in the making; a pod that goes on is met again.
      if (error === 0) continue;
      this.#options.onTrouble(`a pod that floods cannot be policed: ${errnoName(error)}`);
      return;
    }
    if (news) this.#options.onPoliced(address, POLICE_RATES[step]!);
  }
}

function answersItself(program: Program, sender: Address): boolean {
  const row = program.workloadAt(sender.w0, sender.w1, sender.w2, sender.w3);
  return row >= 0 && program.isolated(program.classOfRow(row)) && !program.isResolver(sender);
}
