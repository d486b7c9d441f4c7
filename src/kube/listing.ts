import { type KubeClient, KubeError } from "./client.ts";
import { type Fields, fields } from "./object.ts";
import { ItemCutter } from "./pieces.ts";

/** Which objects are listed. */
export interface Selection {
  /** Path of the collection, for example `/api/v1/pods`. */
  readonly path: string;
  readonly fieldSelector?: string;
  readonly labelSelector?: string;
}

export interface ListingOptions {
  /** Each object as its JSON text, alone; what it throws ends the listing. */
  readonly onItem: (text: string) => void;
  /** All items so far are void: the list begins anew. */
  readonly onRestart: () => void;
  /** The server has said yes to a page. */
  readonly onOpen?: () => void;
  /** What is asked for instead of whole objects, as a media type. */
  readonly accept?: string;
  /** Silence of this length ends it. */
  readonly silenceMs: number;
  readonly signal: AbortSignal;
}

/** Instead of whole objects, what `metadata` says of them. */
export const METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

const PAGE = 500;
const GONE = 410;

/**
 * All objects of a selection, page by page; from the beginning, and then in one page, where the place of the next one has expired. No page
 * is held as a whole. Rejects with a KubeError. @returns the list's resource version
 */
export async function listPages(client: KubeClient, selection: Selection, options: ListingOptions): Promise<string> {
  let limit = PAGE;
  let next = "";
  for (;;) {
    try {
      const query = { ...(limit > 0 ? { limit: String(limit) } : {}), ...(next === "" ? {} : { continue: next }) };
      const envelope = await readPage(client, pathOf(selection, query), options);
      const { resourceVersion, continue: more } = fields(envelope["metadata"]);
      if (typeof more === "string" && more !== "") next = more;
      else if (typeof resourceVersion === "string") return resourceVersion;
      else throw new KubeError(0, "the list has no `resourceVersion`");
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== GONE || next === "") throw error;
      // Pages of two moments would be a list of none.
      options.onRestart();
      next = "";
      limit = 0;
    }
  }
}

/** The path of a request to a collection. */
export function pathOf(selection: Selection, query: Readonly<Record<string, string>>): string {
  const { path, fieldSelector, labelSelector } = selection;
  const all = new URLSearchParams(query);
  if (fieldSelector !== undefined) all.set("fieldSelector", fieldSelector);
  if (labelSelector !== undefined) all.set("labelSelector", labelSelector);
  return `${path}?${all}`;
}

/** @returns the list without its items */
async function readPage(client: KubeClient, path: string, options: ListingOptions): Promise<Fields> {
  const { onItem, onOpen, accept, silenceMs, signal } = options;
  const items = new ItemCutter(onItem);
  await client.read({
    path,
    ...(onOpen === undefined ? {} : { onOpen }),
    ...(accept === undefined ? {} : { accept }),
    onChunk: (chunk) => items.push(chunk),
    silenceMs,
    signal,
  });
  return items.envelope;
}
