import { type Logger, RateLimit } from "../../agent/log.ts";
import type { KubeClient } from "../../kube/client.ts";
import { KubeError } from "../../kube/client.ts";
import { fields, pick } from "../../kube/object.ts";
import { Reflector, type ReflectorListener } from "../../kube/reflector.ts";
import { CONFIGURATION, CONFIGURATION_PATH, CONFIGURATIONS, caBundlePatch, WEBHOOK } from "./ca-bundle.ts";
import { makeServingPair, type ServingPair } from "./certificate.ts";
import { nextServing, type RotationTimes } from "./rotation.ts";
import { endOf, NO_SERVING, readServing, type Serving, writeServing } from "./serving-secret.ts";

export interface CertificateKeeperOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly times: RotationTimes;
  readonly leads: () => boolean;
  /** How long whoever leads may take to make the first certificate. */
  readonly leaderMs?: number;
  /** What is to be served from now on. */
  readonly onPair: (pair: ServingPair) => void;
  readonly log: Logger;
}

const LOOK_EVERY_MS = 1_000;
const WRITE_TIMEOUT_MS = 10_000;
const AGAIN_MS = 5_000;
const SAY_EVERY_MS = 60_000;
/** A leader that knows of certificates looks every second. */
const LEADER_MS = 10_000;

/**
 * Keeps the certificate of the webhook good: all replicas serve what the Secret `sallyport-webhook` holds, and the one that leads renews it there and
 * tells API servers whom to trust. Where that one makes none (it runs without a webhook, and is to be replaced once this replica is ready) any
 * replica makes the first. The chart makes the Secret and the ValidatingWebhookConfiguration: who may create those could make others as well.
 */
export class CertificateKeeper implements ReflectorListener {
  readonly reflectors: readonly Reflector[];
  readonly #options: CertificateKeeperOptions;
  /** The name that API servers ask for. */
  readonly #name: string;
  readonly #secrets: Reflector;
  readonly #configurations: Reflector;
  readonly #limit = new RateLimit(SAY_EVERY_MS);
  #shared: Serving = NO_SERVING;
  #version: string | null = null;
  #served: ServingPair | null = null;
  /** Since when (monotonic) Secret and API server have been as they are. */
  #steadySince = performance.now();
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> = Promise.resolve();
  #notBefore = 0;

  constructor(options: CertificateKeeperOptions) {
    const { client, namespace } = options;
    this.#options = options;
    this.#name = `${WEBHOOK}.${namespace}.svc`;
    this.#secrets = new Reflector(
      {
        name: "secrets",
        path: `/api/v1/namespaces/${namespace}/secrets`,
        fieldSelector: `metadata.name=${WEBHOOK}`,
        trim: ({ data, metadata }) => ({ data, metadata: pick(metadata, "resourceVersion") }),
      },
      client,
      this,
    );
    this.#configurations = new Reflector(CONFIGURATIONS, client, this);
    this.reflectors = [this.#secrets, this.#configurations];
  }

  /** Milliseconds of Unix time at which what is served ends; 0: nothing is served. */
  get until(): number {
    return this.#served === null ? 0 : endOf(this.#served);
  }

  start(): void {
    for (const reflector of this.reflectors) reflector.start();
    this.#timer = setInterval(() => {
      this.#round = this.#round.then(() => this.#look());
    }, LOOK_EVERY_MS);
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    for (const reflector of this.reflectors) reflector.close();
    await this.#round;
  }

  onChanges(_: unknown, reflector: Reflector): void {
    this.#steadySince = performance.now();
    if (reflector === this.#secrets) this.#take();
  }

  onSynced(): void {
    this.#steadySince = performance.now();
  }

  onTrouble({ resource }: Reflector, message: string): void {
    if (this.#limit.allow(performance.now()) === null) return;
    this.#options.log.warn({ event: "watch-trouble", resource: resource.name, problem: message });
  }

  #take(): void {
    const [secret] = this.#secrets.objects.values();
    const { resourceVersion } = fields(secret?.value["metadata"]);
    this.#version = typeof resourceVersion === "string" ? resourceVersion : null;
    this.#shared = secret === undefined ? NO_SERVING : readServing(secret.value["data"], this.#name);
    const { current } = this.#shared;
    if (current === null || current.certificate === this.#served?.certificate) return;
    this.#served = current;
    this.#options.log.info({ event: "webhook-certificate", until: new Date(endOf(current)).toISOString() });
    this.#options.onPair(current);
  }

  /** One step, by the replica that leads. */
  async #look(): Promise<void> {
    const leads = this.#options.leads();
    if (!this.reflectors.every(({ synced }) => synced) || (!leads && !this.#lacksFirst())) return;
    if (performance.now() < this.#notBefore) return;
    try {
      if (!leads || !(await this.#tellTrusted())) await this.#renew();
    } catch (error) {
      this.#notBefore = performance.now() + AGAIN_MS;
      if (this.#limit.allow(performance.now()) === null) return;
      const problem = error instanceof Error ? error.message : String(error);
      this.#options.log.error({ event: "webhook-certificate-failed", problem }, "what is written may not be validated");
    }
  }

  /** Nothing was ever served here, there is nothing to serve, and whoever leads has had the time to do something about it. */
  #lacksFirst(): boolean {
    if (this.#served !== null || this.#shared.current !== null) return false;
    return performance.now() - this.#steadySince >= (this.#options.leaderMs ?? LEADER_MS);
  }

  /** @returns false: the API server knows whom to trust */
  async #tellTrusted(): Promise<boolean> {
    const [configuration] = this.#configurations.objects.values();
    if (configuration === undefined || this.#shared.trusted.length === 0) return false;
    const patch = caBundlePatch(configuration, this.#options.namespace, this.#shared.trusted);
    if (patch === null) return false;
    this.#steadySince = performance.now();
    await this.#patch(CONFIGURATION_PATH, "application/strategic-merge-patch+json", patch);
    this.#options.log.info({
      event: "webhook-trusted",
      configuration: CONFIGURATION,
      cas: this.#shared.trusted.length,
    });
    return true;
  }

  async #renew(): Promise<void> {
    const { times, namespace, log } = this.#options;
    if (this.#version === null) {
      throw new Error(`there is no Secret \`${namespace}/${WEBHOOK}\`: the chart makes it, run \`helm upgrade\``);
    }
    const now = Date.now();
    const steadyMs = performance.now() - this.#steadySince;
    const make = (): ServingPair => makeServingPair(this.#name, times.lifeMs, now);
    const next = nextServing({ shared: this.#shared, served: this.#served, now, steadyMs }, times, make);
    if (next === null) return;
    this.#steadySince = performance.now();
    // Somebody else may have written meanwhile: 409, and what that was comes by the watch.
    const metadata = { resourceVersion: this.#version };
    const body = { metadata, data: writeServing(next) };
    try {
      await this.#patch(`/api/v1/namespaces/${namespace}/secrets/${WEBHOOK}`, "application/merge-patch+json", body);
      log.info({ event: "webhook-certificate-renewed", next: next.next !== null, cas: next.trusted.length });
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== 409) throw error;
    }
  }

  async #patch(path: string, contentType: string, body: object): Promise<void> {
    await this.#options.client.write({
      method: "PATCH",
      path,
      contentType,
      body: JSON.stringify(body),
      timeoutMs: WRITE_TIMEOUT_MS,
    });
  }
}
