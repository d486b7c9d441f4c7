import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { normaliseDnsName, parseDnsName } from "../../../src/net/name.ts";
import {
  type DomainPattern,
  formatDomainPattern,
  parseDomainPattern,
  patternCovers,
  patternMatches,
} from "../../../src/net/pattern.ts";

const label63 = "a".repeat(63);

test.each([
  "github.com",
  "localhost",
  "_dmarc.example.com",
  "xn--bcher-kva.example",
  "1.example",
  `${label63}.example`,
  "a-b.c",
])("%s is a name", (text) => {
  expect(parseDnsName(text)).toEqual({ ok: true, name: text });
});

test.each([
  ["GitHub.com", "`GitHub.com` is not in canonical form: write `github.com`"],
  ["github.com.", "`github.com.` is not in canonical form: write `github.com`"],
  ["bücher.example", "`bücher.example` is not in canonical form: write `xn--bcher-kva.example`"],
  ["ＧＩＴＨＵＢ.com", "`ＧＩＴＨＵＢ.com` is not in canonical form: write `github.com`"],
  ["", "a name must not be empty"],
  [".", "`.` has an empty label: take the extra dot out"],
  ["a..b", "`a..b` has an empty label: take the extra dot out"],
  ["a b.example", "`a b.example` has the character ` `: use letters, digits, `-`, `_` and dots"],
  ["-a.example", "`-a.example` has a label that starts or ends with `-`: take it out"],
  ["192.0.2.1", "`192.0.2.1` is an address, not a name: use `cidrs`"],
  ["127.1", "`127.1` reads as an address, not a name: use `cidrs`"],
  ["a.0x7f", "`a.0x7f` reads as an address, not a name: use `cidrs`"],
  ["example.com:443", "`example.com:443` is not a bare name: leave scheme, port and path out"],
  [`${label63}a.example`, `\`${label63}a.example\` has a label longer than 63 characters: shorten it`],
])("%j: %s", (text, problem) => {
  expect(parseDnsName(text)).toMatchObject({ ok: false, problem });
});

test("names longer than 253 characters are refused", () => {
  expect(parseDnsName(`${label63}.${label63}.${label63}.${"a".repeat(61)}`).ok).toBe(true);
  expect(parseDnsName(`${label63}.${label63}.${label63}.${"a".repeat(62)}`).ok).toBe(false);
});

test.each([
  ["GitHub.COM.", "github.com"],
  ["Bücher.Example", "xn--bcher-kva.example"],
  ["192.0.2.1", null],
  ["0x7f.1", null],
  ["a b", null],
  ["user@example.com", null],
  ["%67ithub.com", null],
  ["ex%C3%A4mple.com", null],
  ["\u0000.com", null],
])("%j is normalised to %j", (text, name) => {
  expect(normaliseDnsName(text)).toBe(name);
});

test("any text is refused or normalised to a name that stays", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.domain()), (text) => {
      const name = normaliseDnsName(text);
      if (name !== null) expect(parseDnsName(name)).toEqual({ ok: true, name });
      parseDomainPattern(text);
    }),
  );
});

function pattern(text: string): DomainPattern {
  const result = parseDomainPattern(text);
  if (!result.ok) throw new Error(result.problem);
  expect(formatDomainPattern(result.pattern)).toBe(text);
  return result.pattern;
}

describe("patterns", () => {
  test.each([
    ["github.com", "github.com", true],
    ["github.com", "api.github.com", false],
    ["*.github.com", "api.github.com", true],
    ["*.github.com", "a.b.github.com", true],
    ["*.github.com", "github.com", false],
    ["*.github.com", "notgithub.com", false],
    ["*.github.com", ".github.com", false],
    ["*.com", "github.com", true],
    ["*", "anything.example", true],
  ])("%s matches %s: %s", (text, name, expected) => {
    expect(patternMatches(pattern(text), name)).toBe(expected);
  });

  test.each([
    ["*", "*.a.example", true],
    ["*.a.example", "*", false],
    ["*.a.example", "*.a.example", true],
    ["*.a.example", "*.b.a.example", true],
    ["*.a.example", "a.example", false],
    ["a.example", "*.a.example", false],
    ["*.a.example", "x.a.example", true],
  ])("%s covers %s: %s", (outer, inner, expected) => {
    expect(patternCovers(pattern(outer), pattern(inner))).toBe(expected);
  });

  test.each([
    ["foo*.example.com", "*.example.com"],
    ["a.*.example.com", "*.example.com"],
    ["*.GitHub.com.", "*.github.com"],
    ["*.bücher.example", "*.xn--bcher-kva.example"],
    ["foo*.com", undefined],
    ["**", undefined],
    ["*.", undefined],
    ["10.0.0.0/8", undefined],
    ["2001:db8::1", undefined],
    ["https://github.com/", undefined],
  ])("%s is refused, and `%s` suggested", (text, suggestion) => {
    const result = parseDomainPattern(text);
    expect(result.ok).toBe(false);
    if (!result.ok) expect(result.suggestion).toBe(suggestion);
  });
});
