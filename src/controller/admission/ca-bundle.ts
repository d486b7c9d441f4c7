import { type Fields, fields, type KubeObject, pick } from "../../kube/object.ts";
import type { Resource } from "../../kube/reflector.ts";

/** Name of the ValidatingWebhookConfiguration, and of Secret and Service. */
export const CONFIGURATION = "sallyport";
export const WEBHOOK = "sallyport-webhook";

const COLLECTION = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
export const CONFIGURATION_PATH = `${COLLECTION}/${CONFIGURATION}`;

/** What API servers ask the controller about, and whom they trust to answer. */
export const CONFIGURATIONS: Resource = {
  name: "validatingwebhookconfigurations",
  path: COLLECTION,
  fieldSelector: `metadata.name=${CONFIGURATION}`,
  trim: ({ webhooks }) => ({
    webhooks: (Array.isArray(webhooks) ? webhooks : []).map((one) => pick(one, "name", "clientConfig")),
  }),
};

/**
 * A strategic merge patch after which API servers trust these CAs (PEM) when they ask the Service `sallyport-webhook` of `namespace`; null: they do.
 * Webhooks that ask somebody else are left alone.
 */
export function caBundlePatch(
  { value }: Pick<KubeObject, "value">,
  namespace: string,
  trusted: readonly string[],
): Fields | null {
  const caBundle = Buffer.from(trusted.join("")).toString("base64");
  const webhooks = (value["webhooks"] as readonly Fields[]).flatMap((webhook) => {
    const { service, caBundle: known } = fields(webhook["clientConfig"]);
    const asked = fields(service);
    const ours = asked["name"] === WEBHOOK && asked["namespace"] === namespace;
    return ours && known !== caBundle ? [{ name: webhook["name"], clientConfig: { caBundle } }] : [];
  });
  return webhooks.length === 0 ? null : { webhooks };
}
