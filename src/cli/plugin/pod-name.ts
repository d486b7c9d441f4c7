import { UsageError } from "../failure.ts";

export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

const KIND = /^(pods?|po)$/;
const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

/**
 * `POD`, `pod/POD` or `NAMESPACE/POD`. `said`: what `-n` says, undefined where it does not; `usual`: the namespace of those that name none.
 * @throws UsageError
 */
export function podName(text: string, said: string | undefined, usual: string): PodName {
  const [first = "", second, ...rest] = text.split("/");
  const named = second !== undefined && !KIND.test(first);
  const name = second ?? first;
  const namespace = named ? first : (said ?? usual);
  if (rest.length > 0 || !NAME.test(name) || !NAME.test(namespace)) {
    throw new UsageError(`\`${text}\` names no pod: write POD, or NAMESPACE/POD`);
  }
  if (named && said !== undefined && said !== first) {
    throw new UsageError(`\`${text}\` and \`--namespace ${said}\` name two namespaces: leave one out`);
  }
  return { namespace, name };
}
