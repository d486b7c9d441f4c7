import type { Decision } from "../model/decision.ts";
import { ByteWriter, type Page, pageOf } from "./bytes.ts";
import { MAX_DECISION_BYTES, writeDecision } from "./event-codec.ts";
import { bytesOf, quoted } from "./json-text.ts";

/** A decision as many records share it, with its part of their lines. */
export class Outcome {
  readonly decision: Decision;
  #bytes: Uint8Array | null = null;
  #packed: Page | null = null;

  constructor(decision: Decision) {
    this.decision = decision;
  }

  /** `"action":…,"policy":…,"rule":…,"reason":…` as it stands in a line: made once, however many lines it is written to. */
  get bytes(): Uint8Array {
    this.#bytes ??= bytesOf(outcomeText(this.decision));
    return this.#bytes;
  }

  /** As `readDecision` reads it: made once, too. */
  get packed(): Page {
    if (this.#packed === null) {
      const writer = new ByteWriter(MAX_DECISION_BYTES);
      writeDecision(writer, this.decision);
      this.#packed = pageOf(writer.bytes.slice(0, writer.length));
    }
    return this.#packed;
  }
}

function outcomeText({ action, policy, rule, reason }: Decision): string {
  const by = `${policy === null ? "" : `"policy":${quoted(policy)},`}${rule === null ? "" : `"rule":${quoted(rule)},`}`;
  return `"action":"${action}",${by}"reason":"${reason}"`;
}

/** Numbers that a ring gives to decisions; then they are given anew. */
export const MOST_OUTCOMES = 4096;

/**
 * Numbers for decisions, so that a record need not repeat the names of policy and rule. The decisions of rules are the same object for as
 * long as a program lives, and are known by that; those that no rule made, by what they say.
 */
export class OutcomeNumbers {
  readonly #byDecision = new Map<Decision, number>();
  readonly #withoutRule = new Map<string, number>();
  #next = 0;
  #last: Decision | null = null;
  #lastNumber = -1;

  /** -1: it has none yet. */
  of(decision: Decision): number {
    if (decision === this.#last) return this.#lastNumber;
    const ruled = decision.policy !== null || decision.rule !== null;
    const number = ruled
      ? this.#byDecision.get(decision)
      : this.#withoutRule.get(`${decision.action} ${decision.reason}`);
    if (number === undefined) return -1;
    this.#last = decision;
    this.#lastNumber = number;
    return number;
  }

  /** Makes room for two more, or starts `anew`. Before the numbers of one record are asked for: they must be of one series. */
  prepare(anew: boolean): void {
    if (!anew && this.#next + 2 <= MOST_OUTCOMES) return;
    this.#byDecision.clear();
    this.#withoutRule.clear();
    this.#last = null;
    this.#next = 0;
  }

  /** The number that a new decision gets once the reader has been told. */
  get next(): number {
    return this.#next;
  }

  /** The reader has been told what `next` means. */
  told(decision: Decision): void {
    const ruled = decision.policy !== null || decision.rule !== null;
    if (ruled) this.#byDecision.set(decision, this.#next++);
    else this.#withoutRule.set(`${decision.action} ${decision.reason}`, this.#next++);
  }
}
