import { ENOENT } from "./libc.ts";
import { mustRun, type RunProgram, runProgram } from "./program.ts";
import { SetElements } from "./set-elements.ts";

/** In the priority of a packet, with the pod's `groupTag` in the other 31 bits: a pod of the host's network sent it that policies hold. */
export const HOST_TAG = "0x80000000";
const TAG_BIT = 0x8000_0000;

/**
 * The priority with which a packet that was judged goes into a tunnel. What the tunnel makes of it is sent by the same socket as far as the kernel tells, to
 * another node, and is not judged again. Nobody else sets one above 6 without NET_RAW, and who has that goes around anyway.
 */
export const JUDGED = "0x40000000";

export const HOST_TABLE = "sallyport_host";
const TABLE = `inet ${HOST_TABLE}`;
const HELD = "held";
const HOLDING = "holding";
/** Before all of our hooks, behind conntrack. */
const PRIORITY = -170;
/** NFPROTO_IPV4 and NFPROTO_IPV6. */
const FAMILIES = [2, 10];

/**
 * The table that tells which pod of the host's network a packet comes from, by the control group of its socket, as input of `nft -f -`. Apart from the
 * table of the rules, for the kernel takes a level to be meant from the root of the control group namespace of whoever makes the rule (since Linux
 * 6.12): an agent in a namespace of its own cannot make this one, and must not lose it. Costs what the node sends one look-up while no pod is held.
 *
 * `levels`: of the groups of pods, below the root of the namespace of the caller.
 */
export function renderHostTable(levels: readonly number[]): string {
  const rules = levels.map((level) => `    ${groupRule(level)}\n`).join("");
  return `add table ${TABLE}
delete table ${TABLE}
table ${TABLE} {
  map ${HELD} {
    type cgroupsv2 : classid
  }
  set ${HOLDING} {
    type nf_proto
  }
  chain output_group {
    type filter hook output priority ${PRIORITY}; policy accept;
    meta nfproto != @${HOLDING} accept
    oif lo accept
    ${TUNNELLED}
${rules}    meta priority and ${HOST_TAG} != 0 meta priority set 0
  }
}
`;
}

const TUNNELLED = `meta priority ${JUDGED} meta priority set 0 accept`;

function groupRule(level: number): string {
  return `meta priority set socket cgroupv2 level ${level} map @${HELD} accept`;
}

/** The table of the groups in this network namespace. Calls are not to overlap. */
export class HostTable {
  readonly #run: RunProgram;
  readonly #elements = new SetElements(HOST_TABLE);

  constructor(run: RunProgram = runProgram) {
    this.#run = run;
  }

  /** It is there and whole, with a rule for each of these levels. */
  async isThere(levels: readonly number[]): Promise<boolean> {
    const { status, stdout } = await this.#run(["nft", "-s", "-t", "list", "table", ...TABLE.split(" ")]);
    if (status !== 0) return false;
    const lines = stdout.split("\n").map((line) => line.trim());
    const rules = lines.slice(lines.indexOf("chain output_group {") + 1);
    if (!/^type filter hook output priority .*; policy accept;$/.test(rules[0] ?? "")) return false;
    const wanted = [`meta nfproto != @${HOLDING} accept`, ...levels.map(groupRule)];
    return wanted.every((rule) => rules.includes(rule)) && rules.indexOf("}") === levels.length + 5;
  }

  /** Makes it anew, without any pod. @throws Error with nft's first line */
  async make(levels: readonly number[]): Promise<void> {
    await mustRun(this.#run, ["nft", "-f", "-"], renderHostTable(levels));
  }

  /** What these groups send is tagged from here on, and nothing else, in one transaction. Returns 0 or the error number. */
  hold(groups: readonly { readonly group: bigint; readonly tag: number }[]): number {
    const pods = groups.map(({ group, tag }) => ({
      key: hostOrder64(group),
      data: hostOrder32((TAG_BIT | tag) >>> 0),
    }));
    const families = pods.length === 0 ? [] : FAMILIES.map((family) => ({ key: Uint8Array.of(family) }));
    return this.#elements.change({
      kind: "replace",
      sets: [
        { set: HELD, elements: pods },
        { set: HOLDING, elements: families },
      ],
    });
  }

  /** Nothing is tagged from here on. Returns 0, also where there is no table, or the error number. */
  release(): number {
    const error = this.hold([]);
    return error === ENOENT ? 0 : error;
  }

  /** Missing is no error. */
  async remove(): Promise<void> {
    await mustRun(this.#run, ["nft", "-f", "-"], `add table ${TABLE}\ndelete table ${TABLE}\n`);
  }

  close(): void {
    this.#elements.close();
  }
}

/** nf_tables keeps both numbers as this machine does. */
function hostOrder64(value: bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(value).buffer);
}

function hostOrder32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}
