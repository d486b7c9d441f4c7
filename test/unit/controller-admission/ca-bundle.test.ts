import { expect, test } from "vitest";
import { CONFIGURATIONS, caBundlePatch } from "../../../src/controller/admission/ca-bundle.ts";

const ours = { name: "sallyport-webhook", namespace: "sallyport", path: "/validate", port: 443 };
const webhook = (name: string, service: object, caBundle?: string) => ({
  name,
  failurePolicy: "Ignore",
  clientConfig: { service, ...(caBundle === undefined ? {} : { caBundle }) },
});
const patch = (webhooks: readonly object[], trusted: readonly string[]) =>
  caBundlePatch({ value: CONFIGURATIONS.trim({ webhooks }) }, "sallyport", trusted);
const base64 = (text: string) => Buffer.from(text).toString("base64");

test("webhooks of ours are told whom to trust, where they are not yet", () => {
  const webhooks = [webhook("a", ours), webhook("b", ours, base64("one\ntwo\n")), webhook("c", ours, base64("one\n"))];
  const caBundle = base64("one\ntwo\n");
  expect(patch(webhooks, ["one\n", "two\n"])).toEqual({
    webhooks: [
      { name: "a", clientConfig: { caBundle } },
      { name: "c", clientConfig: { caBundle } },
    ],
  });
  expect(patch([webhooks[1]!], ["one\n", "two\n"])).toBeNull();
});

test("those that ask somebody else are left alone", () => {
  const others = [
    { ...ours, namespace: "other" },
    { ...ours, name: "other" },
  ].map((service) => webhook("x", service));
  expect(
    patch([...others, { name: "url", clientConfig: { url: "https://other" } }, { name: "none" }], ["one\n"]),
  ).toBeNull();
  expect(caBundlePatch({ value: CONFIGURATIONS.trim({}) }, "sallyport", ["one\n"])).toBeNull();
});
