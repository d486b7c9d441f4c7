import type { FlowTuple } from "../../../src/flow/event.ts";
import { type DnsContext, DnsGuard, type DnsGuardOptions } from "../../../src/inspector/dns/guard.ts";
import { NameTable } from "../../../src/names/table.ts";
import { ipv4 } from "../../../src/net/address.ts";
import type { Program } from "../../../src/program/program.ts";
import { address, compileScene, labels, policy, rule, workload } from "../../support/cases.ts";

/** Workloads of the scene. `app` and `twin` are isolated by the same policy; `observed` by none; `guarded` only has a guardrail. */
export const APP = 1;
export const TWIN = 2;
export const OBSERVED = 3;
export const GUARDED = 4;

const only = (name: string) => ({
  namespaceSelector: null,
  podSelector: labels({ app: name }),
  serviceAccounts: null,
});

export const program: Program = compileScene({
  policies: [
    policy(
      "app1",
      [
        rule("no-gists", "Deny", { domains: ["gist.github.com"] }),
        rule("github", "Allow", { domains: ["*.github.com"], ports: ["TCP 443"] }),
      ],
      { subject: only("app") },
    ),
    policy("later", [rule("weather", "Allow", { domains: ["api.weather.gov"] })], {
      subject: only("app"),
      mode: "Audit",
    }),
    policy("guard", [rule("evil", "Deny", { domains: ["evil.example"] })], {
      subject: only("guarded"),
      defaultDeny: false,
    }),
  ],
  nodeAddresses: [address("192.0.2.250")],
  workloads: [
    workload(APP, "ns/app", { labels: { app: "app" } }),
    workload(TWIN, "ns/twin", { labels: { app: "app" } }),
    workload(OBSERVED, "ns/observed", { labels: {} }),
    workload(GUARDED, "ns/guarded", { labels: { app: "guarded" } }),
  ],
});

export const RESOLVER = address("10.96.0.10");

export function flowOf(workloadId: number, clientPort = 40000, protocol = 17): FlowTuple {
  return { protocol, client: ipv4(0x0af40000 + workloadId), server: RESOLVER, clientPort, serverPort: 53 };
}

export function context(workloadId: number, clientPort?: number, protocol?: number): DnsContext {
  return { workloadId, cls: program.classOf(workloadId), program, flowKey: flowOf(workloadId, clientPort, protocol) };
}

export class Scene {
  readonly names = new NameTable({ bindingsPerWorkload: 1000 });
  readonly guard: DnsGuard;
  now = 1_000_000;

  constructor(options: Partial<DnsGuardOptions> = {}) {
    this.guard = new DnsGuard({
      names: this.names,
      dnsDenial: "NXDomain",
      clusterDomain: "cluster.local",
      limits: { pendingQuestions: 100 },
      ...options,
    });
  }

  ask(message: Uint8Array, workloadId = APP, clientPort?: number, protocol?: number) {
    return this.guard.question(context(workloadId, clientPort, protocol), message, 0, message.length, this.now);
  }

  reply(message: Uint8Array, workloadId = APP, clientPort?: number, protocol?: number) {
    return this.guard.answer(context(workloadId, clientPort, protocol), message, 0, message.length, this.now);
  }

  /** Names that the workload has bound to the address. */
  bound(dotted: string, workloadId = APP) {
    return this.names.lookup(workloadId, address(dotted), this.now);
  }
}
