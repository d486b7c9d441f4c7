/** The policies of a large cluster, as objects. */
import { PARTNER, PORTS } from "./stage.ts";

const API = "sallyport.dev/v1alpha1";

/** Namespaces with policies, and how many each has. */
export const NAMESPACES = 500;
export const POLICIES_EACH = 20;
/** Of these namespaces the measured node has pods, so that 200 policies concern it. */
export const OWN_NAMESPACES = 10;
/** Pods of the measured node. */
export const PODS = 110;

/** Twenty policies of one namespace: names, addresses, a path rule; each for the pods of one app. */
export function policiesOf(index: number): object[] {
  return Array.from({ length: POLICIES_EACH }, (_, i) => ({
    apiVersion: API,
    kind: "EgressPolicy",
    metadata: { name: `app-${i}`, namespace: `team-${index}` },
    spec: {
      priority: 100 + i,
      subject: { podSelector: { matchLabels: { app: `app-${i % 4}` } } },
      rules: [
        {
          name: "services",
          action: "Allow",
          to: [
            {
              domains: [`api-${i}.vendor-${index}.example`, `*.cdn-${i}.vendor-${index}.example`],
              ports: [{ protocol: "TCP", port: 443 }],
            },
          ],
        },
        {
          name: "database",
          action: "Allow",
          to: [{ cidrs: [`198.18.${index % 256}.${i * 8}/29`], ports: [{ protocol: "TCP", port: 5432 }] }],
        },
        {
          name: "reports",
          action: "Allow",
          to: [
            {
              domains: [`reports.partner-${i}.example`],
              ports: [{ protocol: "TCP", port: 80 }],
              http: { methods: ["GET"], paths: [{ prefix: `/team-${index}/` }] },
            },
          ],
        },
      ],
    },
  }));
}

/** The one whose change is timed. */
export function clientPolicy(open: boolean): object {
  return {
    apiVersion: API,
    kind: "EgressPolicy",
    metadata: { name: "client", namespace: "bench-ns" },
    spec: {
      rules: [
        {
          name: "probe",
          action: open ? "Allow" : "Deny",
          to: [{ cidrs: [`${PARTNER}/32`], ports: [{ protocol: "UDP", port: PORTS.probe }] }],
        },
      ],
    },
  };
}
