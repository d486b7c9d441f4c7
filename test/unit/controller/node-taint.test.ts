import { expect, test } from "vitest";
import { NODES } from "../../../src/controller/cluster-ranges.ts";
import { enforcingNodes, TAINT, taintsOf } from "../../../src/controller/node-taint.ts";
import { NODE_STATUSES } from "../../../src/controller/sallyport-objects.ts";
import { type Fields, type KubeObject, keep } from "../../../src/kube/object.ts";

const NOT_READY = { key: TAINT, effect: "NoSchedule" };
const node = (name: string, taints: unknown, bootID: unknown = "boot1"): [string, KubeObject] => {
  const object: Fields = { metadata: { name, uid: name }, spec: { taints }, status: { nodeInfo: { bootID } } };
  return [name, keep(object, NODES.trim)!];
};
const status = (name: string, ready: unknown, bootID: unknown = "boot1"): [string, KubeObject] => [
  name,
  keep({ metadata: { name, uid: name }, status: { ready, bootID } }, NODE_STATUSES.trim)!,
];

test("a node is opened when its agent enforces in the boot that it is in", () => {
  const nodes = new Map([
    node("open", [{ key: "other", effect: "NoSchedule" }, NOT_READY]),
    node("both-effects", [NOT_READY, { ...NOT_READY, effect: "NoExecute" }]),
    node("no-taint", [{ key: "other" }]),
    node("no-taints", undefined),
    node("no-agent", [NOT_READY]),
    node("not-ready", [NOT_READY]),
    node("rebooted", [NOT_READY], "boot2"),
    node("says-nothing", [NOT_READY], ""),
  ]);
  const statuses = new Map([
    ...["open", "both-effects", "no-taint", "no-taints", "rebooted"].map((name) => status(name, true)),
    status("not-ready", false),
    status("says-nothing", true, ""),
  ]);
  expect(enforcingNodes(nodes, statuses).map(({ key }) => key)).toEqual(["open", "both-effects"]);
  expect([taintsOf(nodes.get("open")!), taintsOf(nodes.get("both-effects")!)]).toEqual([[1], [0, 1]]);
});
