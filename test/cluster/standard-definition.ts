/**
 * The kind ClusterNetworkPolicy for a test cluster: the group, version, names and form of policy.networking.k8s.io/v1alpha2, and of its
 * validation what keeps a test from writing something that nobody would be given.
 */
const port = {
  type: "object",
  minProperties: 1,
  properties: {
    destinationPort: {
      type: "object",
      minProperties: 1,
      maxProperties: 1,
      properties: {
        number: { type: "integer" },
        range: { type: "object", properties: { start: { type: "integer" }, end: { type: "integer" } } },
      },
    },
  },
};
const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
const texts = { type: "array", maxItems: 25, items: { type: "string" } };

const egress = {
  type: "object",
  required: ["action", "to"],
  properties: {
    name: { type: "string", maxLength: 100 },
    action: { type: "string", enum: ["Accept", "Deny", "Pass"] },
    to: {
      type: "array",
      minItems: 1,
      items: {
        type: "object",
        minProperties: 1,
        maxProperties: 1,
        properties: { namespaces: open, pods: open, nodes: open, networks: texts, domainNames: texts },
      },
    },
    protocols: {
      type: "array",
      items: {
        type: "object",
        minProperties: 1,
        maxProperties: 1,
        properties: { tcp: port, udp: port, sctp: port, destinationNamedPort: { type: "string" } },
      },
    },
  },
};

const spec = {
  type: "object",
  required: ["tier", "priority", "subject"],
  properties: {
    tier: { type: "string", enum: ["Admin", "Baseline"] },
    priority: { type: "integer", minimum: 0, maximum: 1000 },
    subject: { type: "object", minProperties: 1, maxProperties: 1, properties: { namespaces: open, pods: open } },
    ingress: { type: "array", items: open },
    egress: { type: "array", maxItems: 25, items: egress },
  },
};

export const CLUSTER_NETWORK_POLICIES = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: {
    name: "clusternetworkpolicies.policy.networking.k8s.io",
    annotations: { "api-approved.kubernetes.io": "unapproved, for a test" },
  },
  spec: {
    group: "policy.networking.k8s.io",
    scope: "Cluster",
    names: {
      kind: "ClusterNetworkPolicy",
      plural: "clusternetworkpolicies",
      singular: "clusternetworkpolicy",
      shortNames: ["cnp"],
    },
    versions: [
      {
        name: "v1alpha2",
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: { openAPIV3Schema: { type: "object", required: ["spec"], properties: { spec, status: open } } },
      },
    ],
  },
};
