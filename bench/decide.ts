/** How long decisions and look-ups take, and what a name costs: `node bench/decide.ts`. */
import { decide } from "../src/decide/decide.ts";
import { gateName } from "../src/decide/gate.ts";
import type { Facts } from "../src/model/facts.ts";
import type { DomainPattern } from "../src/net/pattern.ts";
import { buildCidrTable, findPrefix } from "../src/program/cidr-table.ts";
import { buildNameTable } from "../src/program/name-buckets.ts";
import { NameFinder } from "../src/program/name-table.ts";
import { PostingsBuilder } from "../src/program/postings.ts";
import { address, cidr, compileScene, facts, policy, rule, workload } from "../test/support/cases.ts";

function measure(what: string, times: number, run: (i: number) => unknown): void {
  for (let i = 0; i < times / 5; i++) run(i);
  const start = performance.now();
  for (let i = 0; i < times; i++) run(i);
  const nanoseconds = ((performance.now() - start) * 1e6) / times;
  console.log(`${what.padEnd(64)} ${nanoseconds.toFixed(0).padStart(8)} ns`);
}

function rules(): void {
  const many = Array.from({ length: 200 }, (_, i) =>
    rule(
      `r${i}`,
      "Allow",
      i % 4 === 0
        ? { cidrs: [`198.51.${i}.0/24`], ports: ["TCP 22"] }
        : { domains: [`*.site${i}.test`, `site${i}.test`], ports: ["TCP 443"] },
    ),
  );
  const program = compileScene({ policies: [policy("p", many)], workloads: [workload(1, "team/app")] });
  const hello = (name: string): Facts =>
    facts({ names: [name], application: "TLS", evidence: name, encryptedClientHello: false });
  const last = hello("api.site199.test");
  const none = { ...hello("api.nowhere.test"), namesFinal: true };
  const first = facts({ names: ["api.site199.test"] });
  measure("decide, 200 rules, the last one matches", 200_000, () => decide(program, 0, last, "enforce"));
  measure("decide, 200 rules, none matches (with the reason's second walk)", 100_000, () =>
    decide(program, 0, none, "enforce"),
  );
  measure("decide, 200 rules, first packet, not yet", 200_000, () => decide(program, 0, first, "enforce"));
  measure("gate, 200 rules, the last one opens", 200_000, () => gateName(program, 0, "api.site199.test"));
  const { w0, w1, w2, w3 } = address("10.244.0.1");
  measure("workload by address", 5_000_000, () => program.workloadAt(w0, w1, w2, w3));
}

function names(count: number): void {
  const set: DomainPattern[] = Array.from({ length: count }, (_, i) => ({
    kind: i % 2 === 0 ? "exact" : "below",
    name: `host-${(i * 2654435761) % 4294967296}.example${i % 5000}.test`,
  }));
  const text = set.reduce((sum, pattern) => sum + (pattern.kind === "any" ? 0 : pattern.name.length), 0) / count;
  const start = performance.now();
  const postings = new PostingsBuilder();
  const table = buildNameTable([set], postings);
  const built = performance.now() - start;
  const bytes = table.buckets.byteLength + postings.share().byteLength;
  console.log(
    `${count} names: built in ${built.toFixed(0)} ms, ${(bytes / count).toFixed(1)} bytes a name, ${text.toFixed(1)} of them text`,
  );
  const finder = new NameFinder(table);
  // In the order of a full-period step, so that each look-up goes somewhere else in the table.
  const hit = (i: number): string => {
    const pattern = set[(i * 7919) % count]!;
    return pattern.kind === "exact" ? pattern.name : pattern.kind === "below" ? `www.${pattern.name}` : "";
  };
  measureNames("look-up of a name that is there", hit, (name) => finder.find(name));
  const miss = (i: number): string => `www.host-${i}.elsewhere.test`;
  measureNames("look-up of a name that is not", miss, (name) => finder.find(name));
  const beside = (i: number): string => `www.host-${i}x.example${(i * 7919) % 5000}.test`;
  measureNames("look-up of a name that is not, beside names that are", beside, (name) => finder.find(name));
}

/** A name comes from a packet that has just been read, so its own bytes are at hand, flat; the table's are not. */
function measureNames(what: string, nameOf: (i: number) => string, run: (name: string) => unknown): void {
  const [blocks, size] = [1000, 1000];
  let nanoseconds = 0;
  for (let block = -100; block < blocks; block++) {
    const names = Array.from({ length: size }, (_, i) =>
      Buffer.from(nameOf((block + 100) * size + i), "latin1").toString("latin1"),
    );
    const start = performance.now();
    for (const name of names) run(name);
    if (block >= 0) nanoseconds += (performance.now() - start) * 1e6;
  }
  console.log(`${what.padEnd(64)} ${(nanoseconds / (blocks * size)).toFixed(0).padStart(8)} ns`);
}

function ranges(count: number): void {
  const cidrs = Array.from({ length: count }, (_, i) => cidr(`${1 + (i % 200)}.${(i >> 8) % 256}.${i % 256}.0/24`));
  const start = performance.now();
  const table = buildCidrTable([{ cidrs, except: [] }], new PostingsBuilder());
  console.log(`${count} ranges: built in ${(performance.now() - start).toFixed(0)} ms`);
  measure("look-up of an address", 2_000_000, (i) => findPrefix(table, 0, 0, 0xffff, Math.imul(i, 2654435761) >>> 0));
}

rules();
names(1_000_000);
names(10_000);
ranges(100_000);
