/** The one document that is right; each row spoils it. */
export const RIGHT =
  "apiVersion: sallyport.dev/v1alpha1\nkind: ClusterEgressPolicy\nmetadata: {name: a}\nspec:\n  tier: Admin\n  priority: 1\n  defaultDeny: true\n  subject: {}\n  rules:\n    - name: r\n      action: Allow\n      to:\n        - domains: [a.test]\n          ports: [{protocol: TCP, port: 443}]\n";

/** What stands in it, what stands there instead, and what is said of that. */
export const SPOILED: readonly (readonly [string, string, string])[] = [
  ["  priority: 1", "  prioritty: 1", "6:3: unknown field `prioritty` in `spec`: did you mean `priority`?"],
  [
    "        - domains: [a.test]",
    "        - domain: [a.test]",
    "13:11: unknown field `domain` in `to`: did you mean `domains`?",
  ],
  ["  priority: 1", '  priority: "1"', "6:13: `priority` must be a whole number from 0 to 1000, not the text `1`"],
  ["  priority: 1", "  priority: 1001", "6:13: `priority` must be a whole number from 0 to 1000, not `1001`"],
  ["  priority: 1", "  priority: 1.5", "6:13: `priority` must be a whole number from 0 to 1000, not `1.5`"],
  ["  tier: Admin", "  tier: admin", "5:9: `tier` must be `Admin` or `Baseline`, not `admin`: did you mean `Admin`?"],
  [
    "  priority: 1",
    "  mode: audit\n  priority: 1",
    "6:9: `mode` must be `Enforce` or `Audit`, not `audit`: did you mean `Audit`?",
  ],
  ["  defaultDeny: true\n  subject: {}", "  subject: {}", "5:3: `defaultDeny` is missing: give it `true` or `false`"],
  ["  defaultDeny: true", "  defaultDeny: 'yes'", "7:16: `defaultDeny` must be `true` or `false`, not the text `yes`"],
  [
    "        - domains: [a.test]",
    "        - domains: [API.Test.]",
    "13:21: `API.Test.` is not in canonical form: write `api.test`",
  ],
  [
    "        - domains: [a.test]",
    "        - domains: [bücher.test]",
    "13:21: `bücher.test` is not in canonical form: write `xn--bcher-kva.test`",
  ],
  [
    "        - domains: [a.test]",
    '        - domains: ["a.*.test"]',
    "13:21: `a.*.test` has a `*` in an odd place: a pattern is `*` or `*.name`",
  ],
  [
    "        - domains: [a.test]",
    '        - domains: ["https://a.test/x"]',
    "13:21: `https://a.test/x` is not a bare name: leave scheme, port and path out",
  ],
  [
    "        - domains: [a.test]",
    "        - domains: [192.0.2.1]",
    "13:21: `192.0.2.1` is an address, not a name: use `cidrs`",
  ],
  [
    "kind: ClusterEgressPolicy",
    "kind: ClusterEgresPolicy",
    "2:7: unknown kind `ClusterEgresPolicy`: did you mean `ClusterEgressPolicy`?",
  ],
  [
    "apiVersion: sallyport.dev/v1alpha1",
    "apiVersion: sallyport.dev/v1",
    "1:13: unknown apiVersion `sallyport.dev/v1`: write `apiVersion: sallyport.dev/v1alpha1`",
  ],
  ["  defaultDeny: true", "  priority: 2\n  defaultDeny: true", "7:3: `priority` is given twice: keep one"],
  [
    "      to:\n        - domains: [a.test]\n          ports: [{protocol: TCP, port: 443}]",
    "      to: []",
    "12:11: `to` is empty: leave `to` out to mean every destination",
  ],
  [
    "        - domains: [a.test]",
    "        - domains: [a.test",
    "14:11: not readable as YAML: Flow sequence in block collection must be sufficiently indented and end with a ]",
  ],
  [
    "kind: ClusterEgressPolicy\nmetadata: {name: a}",
    "kind: EgressPolicy\nmetadata: {name: a, namespace: n}",
    "5:3: unknown field `tier` in `spec`: known here are `priority`, `mode`, `rules`, `defaultDeny`, `subject`",
  ],
  [
    "metadata: {name: a}",
    "metadata: {name: a, namespace: n}",
    "3:21: `namespace` has no meaning here, for this kind belongs to the whole cluster: leave it out",
  ],
  [
    "metadata: {name: a}",
    "metadata: {name: App_1}",
    "3:18: `App_1` is no object name: use lower-case letters, digits, `-` and dots, up to 253 characters",
  ],
  ["metadata: {name: a}\nspec:", "spec:", "1:1: `metadata` is missing: give it a map of fields"],
  [
    "  priority: 1",
    "  priority:",
    "6:3: `priority` has no value: give it a whole number from 0 to 1000, or leave it out",
  ],
  [
    "  subject: {}",
    "  subject: {podSelector: {matchExpressions: [{key: a, operator: Equals, values: [b]}]}}",
    "8:65: `operator` must be `In`, `NotIn`, `Exists` or `DoesNotExist`, not `Equals`",
  ],
  [
    "  subject: {}",
    "  subject: {podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
    "8:81: `Exists` on `a` takes no values: leave `values` out",
  ],
  [
    "  subject: {}",
    "  subject: {podSelector: {matchExpressions: [{key: a, operator: In}]}}",
    "8:46: `In` on `a` has no values: name at least one in `values`",
  ],
  [
    "  subject: {}",
    "  subject: {podSelector: {matchLabels: {a: 1}}}",
    "8:44: `a` must be text (in quotes if it looks like something else), not `1`",
  ],
  [
    "      action: Allow",
    "      action: allow",
    "11:15: `action` must be `Allow`, `Deny`, `Next` or `Pass`, not `allow`: did you mean `Allow`?",
  ],
  [
    "  tier: Admin",
    "  <<: {priority: 3}\n  tier: Admin",
    "5:3: merge keys (`<<`) are not read: use an alias for a whole value",
  ],
  [
    "  priority: 1",
    "  priority: !!js/function 'x'",
    "6:13: not readable as YAML: Unresolved tag: tag:yaml.org,2002:js/function",
  ],
  ["  subject: {}", "  subject: {__proto__: {}}", "8:13: `__proto__` names no field or label: take it out"],
  [
    "  subject: {}",
    "  subject: {serviceAccounts: default}",
    "8:30: `serviceAccounts` must be a list, not the text `default`",
  ],
  [
    "      action: Allow",
    "      action: Deny\n      whenHidden: allow",
    "12:19: `whenHidden` must be `Deny` or `Continue`, not `allow`",
  ],
  [
    "      to:",
    "      whenHidden: Continue\n      to:",
    "12:19: `whenHidden` is for `Deny` rules, and this one is `Allow`: leave it out",
  ],
];

/** An entry of `to` in place of its own, and what is said of that. */
export const SPOILED_ENTRIES: readonly (readonly [string, string])[] = [
  ["cidrs: [192.0.2.0/33]", "13:19: `192.0.2.0/33` has the prefix length `33`: use 0 to 32"],
  ["cidrs: [192.0.2.1/24]", "13:19: `192.0.2.1/24` has bits set after the prefix: write `192.0.2.0/24`"],
  ["cidrs: [192.0.2.1]", "13:19: `192.0.2.1` has no prefix length: write `192.0.2.1/32`"],
  [
    "{cidrs: [192.0.2.0/24], except: [198.51.100.0/25]}",
    "13:44: `198.51.100.0/25` lies in none of `cidrs`: take it out, or add the range around it",
  ],
  ["{except: [198.51.100.0/25]}", "13:20: `except` is given without `cidrs`: add the ranges it is taken out of"],
  [
    "{cidrs: [192.0.2.0/24], ports: [{protocol: TCP, port: 70000}]}",
    "13:65: `port` must be a whole number from 1 to 65535, not `70000`",
  ],
  [
    "{cidrs: [192.0.2.0/24], ports: [{protocol: TCP, port: 100, endPort: 50}]}",
    "13:79: `endPort` 50 is below `port` 100: swap them",
  ],
  [
    "{cidrs: [192.0.2.0/24], ports: [{protocol: TCP, endPort: 50}]}",
    "13:68: `endPort` is given without `port`: add the first port as `port`",
  ],
  [
    "{cidrs: [192.0.2.0/24], ports: [{protocol: ICMP, port: 8}]}",
    "13:66: `ICMP` takes no port: leave `port` out, or write an entry for each of `TCP`, `UDP`, `SCTP`",
  ],
  [
    "{cidrs: [192.0.2.0/24], ports: [{protocol: tcp, port: 8}]}",
    "13:54: `protocol` must be `TCP`, `UDP`, `SCTP`, `ICMP` or `Any`, not `tcp`: did you mean `TCP`?",
  ],
  [
    '{domains: [a.test], http: {paths: [{regex: "("}]}}',
    "13:54: the regular expression `(` does not compile (missing closing ): `(`): use RE2 syntax",
  ],
  [
    '{domains: [a.test], http: {paths: [{regex: "(?=a)/b"}]}}',
    "13:54: the regular expression `(?=a)/b` does not compile (invalid or unsupported Perl syntax: `(?=`): use RE2 syntax",
  ],
  [
    "{domains: [a.test], http: {paths: [{exact: /a, prefix: /b}]}}",
    "13:46: a path takes exactly one of `exact`, `prefix`, `suffix`, `regex`: write an entry for each",
  ],
  [
    "{domains: [a.test], http: {methods: [get]}}",
    "13:48: `get` is no HTTP method of a rule: use upper case, as in `GET`",
  ],
  ["{domains: [a.test], http: {paths: [{prefix: v1}]}}", "13:55: the path `v1` does not start with `/`: write `/v1`"],
  ["{domains: []}", "13:21: `domains` is empty: leave it out, or name at least one"],
  ["{domains: [a.test], tls: {required: maybe}}", "13:47: `required` must be `true` or `false`, not the text `maybe`"],
  [
    "{domains: [a.test], tls: {encryptedClientHello: deny}}",
    "13:59: `encryptedClientHello` must be `Allow` or `Deny`, not `deny`: did you mean `Deny`?",
  ],
];
