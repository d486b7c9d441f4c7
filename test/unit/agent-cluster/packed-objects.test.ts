import { describe, expect, test } from "vitest";
import { ClusterDocuments } from "../../../src/agent/cluster/documents.ts";
import { ObjectPacking } from "../../../src/agent/cluster/packed-objects.ts";
import { same } from "../../../src/kube/changes.ts";
import { generationOf, type KubeObject } from "../../../src/kube/object.ts";
import { TEXT_PACKER } from "../../../src/workloads/text-packer.ts";

function object(index: number, note = "as it was"): KubeObject {
  const metadata = { name: `o-${index}`, generation: index };
  return { key: `ns/o-${index}`, uid: `u-${index}`, value: { metadata, note, lines: "one\ntwo\u2028", umlaut: "ä" } };
}

const MANY = Array.from({ length: 600 }, (_, index) => object(index));

describe("packed objects", () => {
  test("are what they were, also while they come and when they are put away", () => {
    const packing = new ObjectPacking(TEXT_PACKER);
    const held = MANY.map(packing.hold);
    const all = () => held.map(({ key, uid, value }) => ({ key, uid, value }));
    expect(all()).toEqual(MANY);
    packing.putAway();
    expect(all()).toEqual(MANY);
    expect(held.map(generationOf)).toEqual(MANY.map((_, index) => index));
    const later = packing.hold(object(9_999));
    expect(later.value).toEqual(object(9_999).value);
  });

  test("are told from others without being made: by UID, and by every byte of the value", () => {
    const packing = new ObjectPacking(TEXT_PACKER);
    const held = packing.hold(object(1));
    packing.putAway();
    expect(same(held, object(1))).toBe(true);
    expect(same(held, { ...object(1), uid: "another" })).toBe(false);
    expect(same(held, object(1, "as it wos"))).toBe(false);
    expect(same(held, { ...object(1), value: { ...object(1).value, more: 1 } })).toBe(false);
  });
});

test("a small object does not keep alive what large ones beside it have said before", () => {
  const packing = new ObjectPacking(TEXT_PACKER);
  const held = new Map<string, KubeObject>();
  const put = (index: number, note: string): void => {
    held.set(`${index}`, packing.hold(object(index, note)));
    packing.changed(held.values());
  };
  for (let round = 0; round < 200; round++) {
    put(round, "small");
    put(9_999, `${round} `.repeat(30_000));
  }
  packing.putAway();
  const places = new Set(
    [...held.values()].map((one) => ("place" in one ? (one as { place: { texts: unknown } }).place.texts : null)),
  );
  expect(places.size).toBeLessThan(60);
  expect([...held.values()].slice(0, 200).map(({ value }) => value["note"])).toContain("small");
});

const RULES = [{ name: "db", action: "Allow", to: [{ cidrs: ["192.0.2.1/32"] }] }];

function policy(index: number, spec: object = {}): KubeObject {
  const metadata = { name: `p-${index}`, namespace: "team", uid: `u-${index}`, generation: 1 };
  const own = { subject: { podSelector: { matchLabels: { app: `a-${index % 3}` } } }, rules: RULES, ...spec };
  return { key: `team/p-${index}`, uid: `u-${index}`, value: { metadata, spec: own } };
}

function known(documents: ClusterDocuments): object[] {
  return documents.policies.map(({ name, namespace, tier, priority, mode, defaultDeny, subject, rules }) => {
    return { name, namespace, tier, priority, mode, defaultDeny, subject, rules };
  });
}

describe("policies of packed objects", () => {
  test("are those of objects that are held as they are", () => {
    const objects = Array.from({ length: 300 }, (_, index) => policy(index, index % 7 === 0 ? { priority: -1 } : {}));
    const plain = new ClusterDocuments();
    plain.take("egresspolicies", new Map(objects.map((one) => [one.key, one])));
    const packed = new ClusterDocuments(TEXT_PACKER);
    const hold = packed.reading("egresspolicies", new ObjectPacking(TEXT_PACKER));
    packed.take("egresspolicies", new Map(objects.map((one) => [one.key, hold(one)])));
    expect(known(packed)).toEqual(known(plain));
    expect(packed.refused).toEqual(plain.refused);
    expect(packed.refused).toHaveLength(43);
    packed.putAway();
    expect(known(packed)).toEqual(known(plain));
  });

  test("stay what they were when their object goes bad, also when that is read again after a restart", () => {
    const documents = new ClusterDocuments(TEXT_PACKER);
    const hold = documents.reading("egresspolicies", new ObjectPacking(TEXT_PACKER));
    const take = (one: KubeObject) => documents.take("egresspolicies", new Map([[one.key, hold(one)]]));
    take(policy(1));
    const good = known(documents);
    take(policy(1, { priority: -1 }));
    take(policy(1, { priority: -2 }));
    expect(documents.refused).toMatchObject([{ key: "team/p-1", instead: "last-good" }]);
    expect(known(documents)).toEqual(good);
    const later = new ClusterDocuments(TEXT_PACKER);
    later.remember(documents.remembered);
    later.take("egresspolicies", new Map([["team/p-1", policy(1, { priority: -2 })]]));
    expect(known(later)).toEqual(good);
    take(policy(1, { priority: 7 }));
    expect(documents.remembered).toEqual([]);
  });

  test("an object that comes back under the same UID after it was taken is read again", () => {
    const documents = new ClusterDocuments(TEXT_PACKER);
    const held = documents.reading("egresspolicies", new ObjectPacking(TEXT_PACKER))(policy(1));
    documents.take("egresspolicies", new Map([[held.key, held]]));
    const before = known(documents);
    documents.take("egresspolicies", new Map());
    expect(documents.policies).toEqual([]);
    documents.take("egresspolicies", new Map([[held.key, held]]));
    expect(known(documents)).toEqual(before);
  });
});
