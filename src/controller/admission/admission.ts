import type { Logger } from "../../agent/log.ts";
import type { ListenAddress } from "../../agent/metrics/listen-address.ts";
import type { KubeClient } from "../../kube/client.ts";
import { fields, type KubeObject } from "../../kube/object.ts";
import type { Reflector } from "../../kube/reflector.ts";
import { CertificateKeeper } from "./certificate-keeper.ts";
import { ReviewJudge } from "./review-judge.ts";
import { type ReviewCounts, ReviewServer } from "./review-server.ts";
import { rotationTimes } from "./rotation.ts";

export interface AdmissionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly listen: Extract<ListenAddress, { kind: "tcp" }>;
  readonly certificateLifeMs: number;
  readonly leads: () => boolean;
  readonly log: Logger;
}

const GATHER_MS = 200;

/**
 * The admission webhook: says of a document when it is written what else would only be said afterwards, in its status. It guards nothing: agents judge
 * by themselves what they read (docs/adr/0018-admission-webhook.md).
 */
export class Admission {
  readonly #judge: ReviewJudge;
  readonly #server: ReviewServer;
  readonly #keeper: CertificateKeeper;
  #timer: NodeJS.Timeout | null = null;

  constructor({ client, namespace, listen, certificateLifeMs, leads, log }: AdmissionOptions) {
    this.#judge = new ReviewJudge(log);
    this.#server = new ReviewServer(listen, (body, from, gone) => this.#judge.judge(body, from, gone), log);
    this.#keeper = new CertificateKeeper({
      client,
      namespace,
      times: rotationTimes(certificateLifeMs),
      leads,
      onPair: (pair) => this.#server.use(pair),
      log,
    });
  }

  /** It is asked and answers. */
  get ready(): boolean {
    return this.#server.listening;
  }

  get reflectors(): readonly Reflector[] {
    return this.#keeper.reflectors;
  }

  get counts(): ReviewCounts & { readonly givenUp: number } {
    return { ...this.#server.counts, givenUp: this.#judge.givenUp };
  }

  /** When the certificate ends, in milliseconds of Unix time; 0: there is none. */
  get certificateUntil(): number {
    return this.#keeper.until;
  }

  start(): void {
    this.#keeper.start();
  }

  /** The groups of the cluster, by name; they are read a little later. */
  groupsChanged(groups: ReadonlyMap<string, KubeObject>): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#judge.setGroups(
        new Map([...groups].map(([name, { value }]) => [name, { domains: { length: domainsOf(value) } }])),
      );
    }, GATHER_MS);
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#keeper.close();
    await this.#server.close();
    await this.#judge.close();
  }
}

function domainsOf(value: KubeObject["value"]): number {
  const { domains } = fields(value["spec"]);
  return Array.isArray(domains) ? domains.length : 0;
}
