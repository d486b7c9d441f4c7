import { Document } from "yaml";

/**
 * Policies and what they must say. A row reads `[NS/POD ]URL[ --ip ADDR] => ACTION RULE [REASON]`: without a pod it is
 * app1-ns/app1; the rule is `policy#rule`, or `-` where no rule decides; without a reason any will do.
 */
export interface Scenario {
  readonly about: string;
  /** The spec of an AgentConfig. */
  readonly config?: string;
  /** `Kind[/namespace]/name` to its spec. */
  readonly documents: Readonly<Record<string, string>>;
  readonly rows: readonly string[];
}

export interface Row {
  readonly from: string;
  readonly to: string;
  readonly ip: string | null;
  readonly action: string;
  readonly policy: string | null;
  readonly rule: string | null;
  readonly reason: string | null;
}

const ROW = /^(?:(\S+\/\S+) )?(\S+:\/\/\S+)(?: --ip (\S+))? => (Allow|Deny) (\S+)(?: (\w+))?$/;

export function parseRow(scenario: Scenario, text: string): Row {
  const found = ROW.exec(text);
  if (found === null) throw new Error(`not a row: \`${text}\``);
  const [, from, to = "", ip, action = "", where = "-", reason] = found;
  const [name, rule] = where.split("#");
  const policy = where === "-" ? null : Object.keys(scenario.documents).find((key) => key.split("/").at(-1) === name);
  if (policy === undefined) throw new Error(`no policy \`${name}\` in \`${scenario.about}\``);
  return {
    from: from ?? "app1-ns/app1",
    to,
    ip: ip ?? null,
    action,
    policy,
    rule: rule ?? null,
    reason: reason ?? null,
  };
}

export function policyText(scenario: Scenario): string {
  const documents = Object.entries(scenario.documents).map(([key, spec]) => {
    const [kind, ...path] = key.split("/");
    const [name, namespace] = path.reverse();
    const metadata = namespace === undefined ? `{name: ${name}}` : `{name: ${name}, namespace: ${namespace}}`;
    return document(kind ?? "", metadata, spec);
  });
  if (scenario.config !== undefined) documents.push(document("AgentConfig", "{name: config}", scenario.config));
  return documents.join("---\n");
}

const STANDARD: Readonly<Record<string, string>> = {
  NetworkPolicy: "networking.k8s.io/v1",
  ClusterNetworkPolicy: "policy.networking.k8s.io/v1alpha2",
};

function document(kind: string, metadata: string, spec: string): string {
  return `apiVersion: ${STANDARD[kind] ?? "sallyport.dev/v1alpha1"}\nkind: ${kind}\nmetadata: ${metadata}\nspec: ${spec}\n`;
}

/** A namespace has the labels after it, a pod its service account and its labels. */
const NAMESPACES: Readonly<Record<string, Record<string, string>>> = {
  "app1-ns": { team: "red" },
  "app2-ns": { team: "blue", env: "prod" },
  "other-ns": {},
  "kube-system": {},
};
const PODS: Readonly<Record<string, { serviceAccountName?: string; labels?: Record<string, string> }>> = {
  "app1-ns/app1": { serviceAccountName: "app1-sa", labels: { "egress-ruleset": "app1", tier: "web" } },
  "app1-ns/plain": {},
  "app2-ns/app2": { serviceAccountName: "app1-sa", labels: { "egress-ruleset": "app2", tier: "api" } },
  "other-ns/app1": { labels: { "egress-ruleset": "app1" } },
  "kube-system/coredns": { labels: { "k8s-app": "kube-dns" } },
};

/** As `kubectl get pods,namespaces -A -o yaml` prints it. */
export function workloadText(): string {
  const items = [
    ...Object.entries(NAMESPACES).map(([name, labels]) => ({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name, labels: { "kubernetes.io/metadata.name": name, ...labels } },
    })),
    ...Object.entries(PODS).map(([key, { labels, serviceAccountName }], index) => {
      const [namespace, name] = key.split("/");
      const address = `10.200.0.${index + 10}`;
      return {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name, namespace, uid: `uid-${index}`, labels },
        spec: { serviceAccountName, containers: [{ name: "main", image: "main" }] },
        status: { phase: "Running", podIP: address, podIPs: [{ ip: address }] },
      };
    }),
  ];
  return new Document({ apiVersion: "v1", kind: "List", items }).toString();
}
