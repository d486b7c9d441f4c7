import { describe, expect, test } from "vitest";
import { answerReview } from "../../../src/controller/admission/review.ts";
import { loadDocuments } from "../../../src/policy/documents.ts";
import { API_VERSION } from "../../../src/policy/schema.ts";

const UID = "705ab4f5-6393-11e8-b7cc-42010a800002";
const [group, version] = API_VERSION.split("/");

interface Asked {
  readonly kind?: string;
  readonly operation?: string;
  readonly spec?: unknown;
  readonly oldSpec?: unknown;
  readonly metadata?: object;
  readonly group?: string;
  readonly subResource?: string;
}

function asked({ kind = "EgressPolicy", operation = "CREATE", spec, oldSpec, metadata, subResource, ...rest }: Asked) {
  const object = (own: unknown) => ({
    apiVersion: API_VERSION,
    kind,
    metadata: { name: "a", namespace: "team", managedFields: [{}], ...metadata },
    spec: own,
  });
  const request = {
    uid: UID,
    kind: { group: rest.group ?? group, version, kind },
    operation,
    ...(subResource === undefined ? {} : { subResource }),
    object: object(spec),
    oldObject: oldSpec === undefined ? null : object(oldSpec),
  };
  return { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request };
}

const answer = (what: Asked, groups: ReadonlyMap<string, { domains: { length: number } }> | null = new Map()) =>
  answerReview(asked(what), groups)?.response;

const ports = [{ protocol: "TCP", port: 443 }];
const allow = (name: string, to: object) => ({ name, action: "Allow", to: [to] });
const GOOD = { rules: [allow("a", { domains: ["a.example"], ports })] };
const BAD = { rules: [allow("a", { cidrs: ["192.0.2.0/24"], except: ["198.51.100.0/24"] })] };

describe("a review", () => {
  test("what is right is let in without a word", () => {
    expect(answer({ spec: GOOD })).toEqual({ uid: UID, allowed: true });
  });

  test("what is wrong is refused in validate's words, with the path of the field", () => {
    const { problems } = loadDocuments([
      {
        path: "a.yaml",
        text: JSON.stringify({
          apiVersion: API_VERSION,
          kind: "EgressPolicy",
          metadata: { name: "a", namespace: "team" },
          spec: BAD,
        }),
      },
    ]);
    const message = `spec.rules[0].to[0].except[0]: ${problems[0]?.message}`;
    expect(answer({ spec: BAD })).toEqual({
      uid: UID,
      allowed: false,
      status: { code: 422, reason: "Invalid", message },
    });
  });

  test("everything that is wrong is said, and no more than can be read", () => {
    const many = { rules: Array.from({ length: 20 }, (_, i) => allow(`r${i}`, { domains: [`X${i}.example`], ports })) };
    const message = answer({ spec: many })?.status?.message ?? "";
    expect(message.split("; ")).toHaveLength(16);
    expect(message).toMatch(/; and 5 more: `sallyport validate` shows them all$/);
  });

  test.each<[string, Asked, RegExp]>([
    [
      "a cluster Allow that anybody can have",
      {
        kind: "ClusterEgressPolicy",
        spec: { tier: "Admin", defaultDeny: true, subject: { podSelector: { matchLabels: { a: "b" } } }, ...GOOD },
      },
      /^spec\.subject: `podSelector` alone says who may use rule `a`: .* add `namespaceSelector`$/,
    ],
    [
      "a rule that never decides",
      { spec: { rules: [allow("all", { domains: ["*.example"], ports }), ...GOOD.rules] } },
      /^spec\.rules\[1\]\.name: rule `a` never decides: `all` above it covers all of it/,
    ],
    [
      "a group that is not there",
      { spec: { rules: [allow("a", { group: "no", ports })] } },
      /^spec\.rules\[0\]\.to\[0\]\.group: there is no group `no`/,
    ],
    [
      "a configuration that nobody reads",
      { kind: "AgentConfig", spec: {} },
      /^metadata\.name: agents read the AgentConfig `default`/,
    ],
    [
      "a field of a newer version",
      { spec: { ...GOOD, later: true } },
      /^spec\.later: unknown field `later`.* opens nothing$/,
    ],
  ])("warned about: %s", (_, what, warning) => {
    const said = answer(what);
    expect(said?.allowed).toBe(true);
    expect(said?.warnings).toEqual([expect.stringMatching(warning)]);
  });

  test("groups that are not known yet are not said to be missing", () => {
    expect(answer({ spec: { rules: [allow("a", { group: "no", ports })] } }, null)).toEqual({
      uid: UID,
      allowed: true,
    });
  });

  test("an AgentConfig may leave out what agents find, and is judged as they read it", () => {
    const metadata = { name: "default" };
    expect(answer({ kind: "AgentConfig", metadata, spec: { failMode: "Open" } })).toEqual({ uid: UID, allowed: true });
    expect(answer({ kind: "AgentConfig", metadata, spec: { failMode: "Ajar" } })?.status?.message).toMatch(
      /^spec\.failMode: /,
    );
    const spec = { podCIDRs: ["10.0.0.0/16"], clusterCIDRs: ["10.1.0.0/16"] };
    expect(answer({ kind: "AgentConfig", metadata, spec })?.warnings).toEqual([
      expect.stringMatching(/^spec\.podCIDRs\[0\]: /),
    ]);
  });

  test("an object that is wrong already may be labelled, and deleted", () => {
    const labelled = answer({ operation: "UPDATE", spec: BAD, oldSpec: BAD, metadata: { labels: { a: "b" } } });
    expect(labelled?.allowed).toBe(true);
    expect(labelled?.warnings?.[0]).toMatch(/^spec\.rules\[0\]/);
    const going = { deletionTimestamp: "2026-01-01T00:00:00Z" };
    expect(answer({ operation: "UPDATE", spec: BAD, oldSpec: GOOD, metadata: going })?.allowed).toBe(true);
    expect(answer({ operation: "UPDATE", spec: BAD, oldSpec: GOOD })?.allowed).toBe(false);
  });

  test.each<[string, Asked]>([
    ["another group", { group: "apps", spec: BAD }],
    ["another kind", { kind: "EgressNodeStatus", spec: BAD }],
    ["a kind that every object has", { kind: "constructor", spec: BAD }],
    ["a deletion", { operation: "DELETE", spec: BAD }],
    ["a status", { subResource: "status", spec: BAD, operation: "UPDATE" }],
  ])("let through: %s", (_, what) => {
    expect(answer(what)).toEqual({ uid: UID, allowed: true });
  });

  test.each<[string, unknown]>([
    ["nothing", null],
    ["a list", []],
    ["another kind", { ...asked({}), kind: "Pod" }],
    ["another version", { ...asked({}), apiVersion: "admission.k8s.io/v1beta1" }],
    ["no uid", { ...asked({}), request: {} }],
    ["a long uid", { ...asked({}), request: { ...asked({}).request, uid: "a".repeat(1000) } }],
  ])("no review: %s", (_, review) => {
    expect(answerReview(review, null)).toBeNull();
  });

  test("objects that are nothing of the kind are refused", () => {
    for (const object of [
      null,
      7,
      "a",
      [],
      {},
      { metadata: 1, spec: 2 },
      { spec: { rules: [null, { to: [null] }] } },
    ]) {
      const review = asked({});
      expect(answerReview({ ...review, request: { ...review.request, object } }, null)?.response.allowed).toBe(false);
    }
  });
});
