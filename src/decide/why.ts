import { formatAddress, sameAddress } from "../net/address.ts";
import { formatPorts } from "../net/ports.ts";
import { ACTION, ENTRY, EXTENT, GROUP, NONE, PORT, RULE, TLS } from "../program/layout.ts";
import { NAME_MARK } from "../program/marks.ts";
import type { Program } from "../program/program.ts";
import { type Asking, askingOf, type FlowAnswers } from "./answers.ts";
import { PLACEHOLDER } from "./destination.ts";
import { ANSWER } from "./walk.ts";

/** How many entries of one rule are spoken of. */
const MOST_ENTRIES = 4;

/** The answer of a rule in words: for a no every entry's first field that failed, else the entry that answered. */
export function whyRule(program: Program, answers: FlowAnswers, rule: number, answer: number): string {
  const { rules } = program.rules;
  const row = rule * RULE.stride;
  const asking = askingOf(rules, row);
  const first = rules[row + RULE.entries]!;
  const count = rules[row + RULE.entryCount]!;
  if (count === NONE) return answer === ANSWER.no ? PORT_53 : "it is for every destination";
  if (count === 0) return FOR_NOTHING;
  const words: string[] = [];
  for (let entry = first; entry < first + count; entry++) {
    const own = answers.entry(entry, asking);
    if (own === answer) words.push(whyEntry(program, answers, entry, asking, own));
    if (own === answer && answer !== ANSWER.no) break;
  }
  const more = words.length - MOST_ENTRIES;
  return words.slice(0, MOST_ENTRIES).join("; ") + (more > 0 ? `; and ${more} more entries do not match` : "");
}

/** Of a rule of a cluster's policy that this version does not understand (policy/cluster-reading). */
export const FOR_NOTHING = "part of it is not understood, so it matches nothing";
const PORT_53 = "port 53 of a server that is no trusted resolver needs an Allow that names the port";

function whyEntry(program: Program, answers: FlowAnswers, entry: number, asking: Asking, answer: number): string {
  const row = entry * ENTRY.stride;
  const has = (field: number, none: number) => program.rules.entries[row + field] !== none;
  const fields: [boolean, number, () => string][] = [
    [true, answers.ports(entry, asking), () => whyPorts(program, answers, row)],
    [has(ENTRY.cidrs, NONE), answers.cidrs(entry), () => whyCidrs(program, answers, row)],
    [has(ENTRY.groupState, GROUP.none), answers.group(entry, asking), () => whyGroup(program, answers, row, asking)],
    [has(ENTRY.names, NONE), answers.domains(entry, asking), () => whyDomains(program, answers, row, asking)],
    [has(ENTRY.tls, TLS.none), answers.tls(entry, asking), () => whyTls(program, answers, row)],
    [has(ENTRY.http, NONE), answers.http(entry, asking), () => whyHttp(program, answers, row, asking)],
  ];
  const asked = fields.filter(([there]) => there);
  if (answer === ANSWER.yes) return asked.map(([, , why]) => why()).join(", ");
  return asked.find(([, own]) => own === answer)![2]();
}

function whyPorts(program: Program, answers: FlowAnswers, row: number): string {
  const { entries, ports } = program.rules;
  const { protocol, port } = answers.facts;
  const count = entries[row + ENTRY.portCount]!;
  if (count === NONE) return answers.foreignResolver ? PORT_53 : "any port";
  const first = entries[row + ENTRY.ports]!;
  const wanted: string[] = [];
  for (let i = first; i < first + count; i++) {
    const [protocolAt, from, to] = ports.subarray(i * PORT.stride);
    wanted.push(formatPorts({ protocol: protocolAt!, from: from!, to: to! }));
  }
  const asking: Asking = { action: ACTION.allow, hiddenContinues: false };
  const entry = row / ENTRY.stride;
  const own =
    port === 0 ? formatPorts({ protocol, from: 0, to: 65535 }) : formatPorts({ protocol, from: port, to: port });
  return answers.ports(entry, asking) === ANSWER.no ? `${own} is not among ${wanted.join(", ")}` : own;
}

function whyCidrs(program: Program, answers: FlowAnswers, row: number): string {
  const set = program.rules.entries[row + ENTRY.cidrs]!;
  const { address } = answers.facts;
  if (program.rules.extents[set] === EXTENT.nowhere)
    return "it is for pods inside the cluster, which are not decided here";
  const unknown = sameAddress(address, PLACEHOLDER);
  const own = unknown ? "the address (not given)" : `\`${formatAddress(address)}\``;
  return `${own} is ${program.marks.holdsAddress(set) ? "" : "not "}in ${program.text.cidrSets[set]}`;
}

function whyGroup(program: Program, answers: FlowAnswers, row: number, asking: Asking): string {
  const { entries } = program.rules;
  const name = program.text.groupNames[entries[row + ENTRY.group]!]!;
  if (entries[row + ENTRY.groupState] === GROUP.missing) {
    const meaning = asking.action === ACTION.deny ? "a Deny of it means every destination" : "it matches nothing";
    return `group \`${name}\` does not exist: ${meaning}`;
  }
  const names = entries[row + ENTRY.groupNames]!;
  const cidrs = entries[row + ENTRY.groupCidrs]!;
  if (cidrs !== NONE && program.marks.holdsAddress(cidrs)) return `the address is in group \`${name}\``;
  const byName = names === NONE ? "it has no domains" : whyNames(program, answers, row, names, asking);
  return `group \`${name}\`: ${cidrs === NONE ? "" : `the address is not in ${program.text.cidrSets[cidrs]}, `}${byName}`;
}

function whyDomains(program: Program, answers: FlowAnswers, row: number, asking: Asking): string {
  return whyNames(program, answers, row, program.rules.entries[row + ENTRY.names]!, asking);
}

function whyNames(program: Program, answers: FlowAnswers, row: number, set: number, { action }: Asking): string {
  const marks = program.marks.nameMarks(set);
  const text = program.text.nameSets[set]!;
  const { evidence } = answers;
  if (action === ACTION.deny) return whyDeniedNames(answers, marks, text);
  if (typeof evidence === "string") {
    if ((marks & NAME_MARK.evidence) === 0) return `name \`${evidence}\` is not among ${text}`;
    if (answers.evidenceBound) return `name \`${evidence}\` is among ${text} and was resolved to this address`;
    const open = answers.namesFinal ? "was never resolved" : "is not yet known to be resolved";
    return `name \`${evidence}\` is among ${text} but ${open} to this address by this workload`;
  }
  if (answers.nameMayCome) return `the flow has not shown its name yet, to be found among ${text}`;
  if (answers.needsEvidence(row / ENTRY.stride))
    return `the flow carries no name, and one among ${text} has to be in it`;
  if ((marks & NAME_MARK.bound) !== 0) return `the address was resolved from a name among ${text}`;
  return `no name that this workload resolved to the address is among ${text}${answers.namesFinal ? "" : " yet"}`;
}

function whyDeniedNames(answers: FlowAnswers, marks: number, text: string): string {
  if ((marks & NAME_MARK.evidence) !== 0) return `name \`${answers.evidence}\` is among ${text}`;
  if ((marks & NAME_MARK.bound) !== 0) return `the address was resolved from a name among ${text}`;
  if (marks !== 0) return `an alias on the way to the address is among ${text}`;
  if (answers.nameHidden) return `the flow hides its name, which may be among ${text}`;
  if (answers.nameMayCome || !answers.namesFinal)
    return `not all names of the flow are known yet, to be held against ${text}`;
  return `no name of the flow is among ${text}`;
}

function whyTls(program: Program, answers: FlowAnswers, row: number): string {
  const { application, encryptedClientHello } = answers.facts;
  if (application === "Unknown") return "the flow has not shown yet whether it is TLS";
  const required = (program.rules.entries[row + ENTRY.tls]! & TLS.required) !== 0;
  if (required && application !== "TLS" && application !== "QUIC") return `the flow is ${spoken(application)}, not TLS`;
  const refused = (program.rules.entries[row + ENTRY.tls]! & TLS.refuseEncryptedHello) !== 0;
  if (refused && encryptedClientHello === true) return "its ClientHello is encrypted, which `tls` refuses";
  return required ? "it is TLS" : "`tls` is met";
}

function whyHttp(program: Program, answers: FlowAnswers, row: number, asking: Asking): string {
  const { application, method, path } = answers.facts;
  if (application === "Unknown") return "the flow has not shown yet whether it is HTTP";
  if (application !== "HTTP") return `the flow is ${spoken(application)}, not HTTP`;
  const at = program.rules.entries[row + ENTRY.http]!;
  const { methods, paths } = program.rules.http[at]!;
  const tests = program.http[at]!;
  if (methods !== null && method === undefined) return "the method is not known";
  if (methods !== null && (method === null || !tests.methods!.has(method!))) {
    return `method \`${method}\` is not among ${methods.join(", ")}`;
  }
  if (paths === null) return `method \`${method}\``;
  if (path === undefined) return "the path is not known";
  const wanted = paths.map(({ kind, value }) => `${kind} \`${value}\``).join(", ");
  if (path !== null && answers.tooLong(tests, path)) {
    return `the path has ${path.length} characters, too many to be held against all regular expressions of this workload (${wanted})`;
  }
  const matches = path !== null && answers.matchesPath(tests, path, asking);
  return `path \`${path}\` ${matches ? "matches" : "is not"} ${wanted}`;
}

function spoken(application: string): string {
  return application === "Other" || application === "ServerFirst" ? "of another protocol" : application;
}
