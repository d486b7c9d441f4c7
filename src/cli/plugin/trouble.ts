import { CredentialError } from "../../kube/access.ts";
import { KubeError } from "../../kube/client.ts";
import { API_VERSION } from "../../policy/schema.ts";
import { UsageError } from "../failure.ts";

const GROUP = API_VERSION.split("/")[0] ?? "";

/** Where a request went. */
interface Asked {
  readonly server: string;
  readonly sallyport: string;
}

/** Why a request to the API server failed, and what to do, in a line for the user. `path`: what was asked for. */
export function inWords(error: unknown, path: string, { server, sallyport }: Asked): UsageError {
  if (!(error instanceof KubeError)) return new UsageError(error instanceof Error ? error.message : String(error));
  const { status, message } = error;
  if (error.cause instanceof CredentialError) return new UsageError(error.cause.message, { cause: error });
  const own = path.startsWith(`/apis/${GROUP}/`);
  const say = (text: string): UsageError => new UsageError(text, { cause: error });
  if (status === 403) return say(`${said(message)}: ${roleFor(path, own, sallyport)}`);
  if (status === 401)
    return say(
      `the API server \`${server}\` does not know you (${message}): log in again, or choose another \`--context\``,
    );
  if (status === 404 && own) {
    return say(
      "this cluster does not know Sallyport's kinds: install it with `helm install` (docs/guide/kubernetes.md), or choose another `--context`",
    );
  }
  if (status !== 0) return say(`the API server refuses \`${path.split("?")[0]}\`: ${message}`);
  if (/certificate|CERT_|SSL|TLS/.test(message)) {
    return say(
      `\`${server}\` is not trusted (${message}): \`certificate-authority\` of the kubeconfig has to be the cluster's`,
    );
  }
  return say(
    `the API server \`${server}\` does not answer (${message}): is it the right \`--context\`, and can it be reached from here?`,
  );
}

/** The API server's own words are good: `pods "x" is forbidden: User "anna" cannot get ...`. */
function said(message: string): string {
  return message.replace(/^HTTP 403: /, "");
}

function roleFor(path: string, own: boolean, sallyport: string): string {
  if (own) return "ask for the ClusterRole `sallyport-viewer`, bound by a ClusterRoleBinding";
  const flows = `the Role \`sallyport-flows\` in the namespace \`${sallyport}\``;
  if (path.startsWith(`/api/v1/namespaces/${sallyport}/pods/`)) return `ask for ${flows}`;
  if (path.startsWith(`/api/v1/namespaces/${sallyport}/pods`)) {
    return `ask for ${flows}, or for the ClusterRole \`sallyport-operator\`, bound by a ClusterRoleBinding`;
  }
  if (/^\/api\/v1\/namespaces\/[^/?]+(\/pods.*)?$/.test(path)) {
    return "ask for the ClusterRole `view` in that namespace, or for `sallyport-operator`, bound by a ClusterRoleBinding";
  }
  return "ask for the ClusterRole `sallyport-operator`, bound by a ClusterRoleBinding";
}
