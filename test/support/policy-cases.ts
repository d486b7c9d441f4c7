/**
 * Documents and what becomes of them: `accepted` by validation and by the API server, `refused` by both, or `reported`: the API server
 * takes it, validation does not, and the object's status says so.
 */
export interface PolicyCase {
  /** The named check that the case is about, or what else decides it. */
  readonly check: string;
  readonly becomes: "accepted" | "refused" | "reported";
  readonly text: string;
}

const HEAD = "apiVersion: sallyport.dev/v1alpha1\n";
const document = (kind: string, spec: string, metadata = "name: a-case") =>
  `${HEAD}kind: ${kind}\nmetadata: { ${metadata} }\nspec: ${spec}\n`;

const policy = (rest: string) => document("ClusterEgressPolicy", `{ tier: Admin, defaultDeny: true, ${rest} }`);
const rule = (rest: string, action = "Allow") => policy(`rules: [{ name: one, action: ${action}, ${rest} }]`);
const entry = (fields: string, action = "Allow") => rule(`to: [{ ${fields} }]`, action);
const subject = (rest: string) => policy(`subject: { ${rest} }`);
const own = (spec: string) => document("EgressPolicy", `{ ${spec} }`, "name: a-case, namespace: default");
const group = (spec: string) => document("DestinationGroup", `{ ${spec} }`);
const config = (rest: string) =>
  document(
    "AgentConfig",
    `{ resolvers: [10.96.0.10], podCIDRs: [10.244.1.0/24], clusterCIDRs: [10.244.0.0/16], ${rest} }`,
  );

const cases = (becomes: PolicyCase["becomes"], check: string, texts: readonly string[]): PolicyCase[] =>
  texts.map((text) => ({ check, becomes, text }));
const accepted = (check: string, ...texts: string[]) => cases("accepted", check, texts);
const refused = (check: string, ...texts: string[]) => cases("refused", check, texts);
const reported = (check: string, ...texts: string[]) => cases("reported", check, texts);

const repeat = (count: number, item: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => item(i)).join(", ");
const label63 = "a".repeat(63);
const name253 = `${label63}.${label63}.${label63}.${"b".repeat(61)}`;
const domains = (...names: string[]) => names.map((name) => entry(`domains: ["${name}"]`));
const cidrs = (...ranges: string[]) => ranges.map((range) => entry(`cidrs: ["${range}"]`));
const resolvers = (...addresses: string[]) => addresses.map((address) => config(`agentResolvers: ["${address}"]`));
const paths = (kind: string, ...values: string[]) =>
  values.map((value) => entry(`http: { paths: [{ ${kind}: '${value}' }] }`));
const masks = (...values: string[]) => values.map((value) => config(`markMask: ${value}`));
const labels = (...keys: string[]) => keys.map((key) => subject(`podSelector: { matchLabels: { "${key}": x } }`));

export const POLICY_CASES: readonly PolicyCase[] = [
  ...accepted(
    "structure",
    policy(""),
    own(""),
    own("defaultDeny: false"),
    config(""),
    config("sources: [NetworkPolicy, ClusterNetworkPolicy]"),
    config('podInterfaces: ["eni*", cali0a, "veth.7"]'),
    config('publicPodCIDRs: [203.0.113.0/24, "2001:db8::/32"]'),
    rule("whenHidden: Deny", "Deny"),
  ),
  ...refused(
    "structure",
    document("ClusterEgressPolicy", "{ tier: Admin }"),
    document("ClusterEgressPolicy", "{ defaultDeny: true }"),
    document("ClusterEgressPolicy", "{ tier: Namespace, defaultDeny: true }"),
    policy("priority: 1001"),
    ...["'*'", "''", "veth*0", "'a b'", `'x"y'`, "sixteen-letters-x"].map((name) => config(`podInterfaces: [${name}]`)),
    config("publicPodCIDRs: [203.0.113.0]"),
    config(`podInterfaces: [${repeat(17, (i) => `veth${i}`)}]`),
    policy("priority: -1"),
    policy("mode: audit"),
    policy("rules: [{ name: one }]"),
    policy("rules: [{ action: Deny }]"),
    policy("rules: [{ name: One, action: Deny }]"),
    policy("rules: [{ name: one, action: Reject }]"),
    rule("to: []"),
    entry("domains: []"),
    entry("cidrs: []"),
    entry("ports: []"),
    entry("ports: [{ port: 0 }]"),
    entry("ports: [{ port: 65536 }]"),
    entry("ports: [{ protocol: tcp }]"),
    entry("http: { methods: [get] }"),
    entry("http: { methods: [] }"),
    entry("http: { paths: [] }"),
    entry("group: Big_One"),
    subject("serviceAccounts: []"),
    subject('podSelector: { matchLabels: { a: "-" } }'),
    config("queueNumber: 65533"),
    config("limits: { heldPackets: 0 }"),
    config("failMode: open"),
    config("systemNamespaces: [Kube]"),
    config("sources: [networkpolicies]"),
  ),
  ...refused(
    "unknown field",
    policy("ingress: []"),
    own("tier: Admin"),
    own("subject: { namespaceSelector: {} }"),
    entry("domain: [a.example]"),
    group("domains: [a.example], ports: []"),
    `${policy("")}extra: 1\n`,
  ),
  ...reported(
    "no value",
    policy("subject: null"),
    rule("to: null"),
    entry("domains: null"),
    entry("cidrs: null"),
    entry("ports: null"),
    entry("http: { paths: null }"),
    entry("tls: null"),
    subject("podSelector: null"),
    subject("podSelector: { matchLabels: null }"),
  ),
  ...refused("no value", rule("whenHidden: null", "Deny"), policy("rules: [{ name: null, action: Deny }]")),

  ...accepted("unique-rule-names", policy("rules: [{ name: a, action: Next }, { name: b, action: Next }]")),
  ...refused("unique-rule-names", policy("rules: [{ name: a, action: Next }, { name: a, action: Deny }]")),
  ...accepted("when-hidden-on-deny", rule("whenHidden: Continue", "Deny")),
  ...refused("when-hidden-on-deny", ...["Allow", "Next", "Pass"].map((action) => rule("whenHidden: Deny", action))),
  ...accepted(
    "encrypted-client-hello-on-allow",
    entry("tls: { encryptedClientHello: Deny }"),
    entry("tls: { encryptedClientHello: Allow }", "Deny"),
    entry("tls: { required: true }", "Pass"),
  ),
  ...refused(
    "encrypted-client-hello-on-allow",
    ...["Deny", "Next", "Pass"].map((action) => entry("tls: { encryptedClientHello: Deny }", action)),
    rule("to: [{}, { tls: { encryptedClientHello: Deny } }]", "Deny"),
  ),

  ...accepted(
    "domain-pattern",
    ...domains(
      "*",
      "a",
      "a.example",
      "*.a.example",
      "*.com",
      "_dmarc.a_b.example",
      "1.example",
      "1e1",
      "0xg",
      "a.0x1z",
    ),
    ...domains("xn--bcher-kva.example", `${label63}.example`, name253, `*.${name253}`, "a-b.c--d.example", "1.2.3.4a"),
  ),
  ...refused(
    "domain-pattern",
    ...domains("", "A.example", "a.example.", ".a.example", "a..example", "-a.example", "a-.example", "a b.example"),
    ...domains("**", "*a.example", "a.*.example", "a*.example", "*.", "*.*", "bücher.example", "https://a.example"),
    ...domains(
      "a.example:443",
      "a.example/b",
      "10.0.0.1",
      "*.10.0.0.1",
      "1",
      "a.1",
      "a.0x",
      "a.0x1f",
      "::1",
      "10.0.0.0/8",
    ),
    ...domains(`${label63}a.example`, `${name253}b`, `*.${name253}b`, `a.${name253}`, "a.example\\n"),
  ),
  ...accepted(
    "dns-name",
    config("clusterDomain: cluster.example"),
    config("clusterDomain: local"),
    config(`clusterDomain: ${name253}`),
  ),
  ...refused(
    "dns-name",
    ...["''", "cluster.local.", "Cluster.local", "'*.local'", "'10.0.0.1'", "a..b", `${name253}b`].map((name) =>
      config(`clusterDomain: ${name}`),
    ),
  ),
  ...accepted(
    "cidr",
    ...cidrs(
      "0.0.0.0/0",
      "10.0.0.0/8",
      "203.0.113.7/32",
      "::/0",
      "2001:db8::/32",
      "2001:DB8::/32",
      "2001:db8::1/128",
      "fe80::/10",
    ),
    ...cidrs("0:0:0:0:0:0:0:0/0", "2001:db8:0:0:0:0:0:0/32", "64:ff9b::203.0.113.0/120"),
    subject("podSelector: {}"),
  ),
  ...refused(
    "cidr",
    ...cidrs(
      "",
      "10.0.0.0",
      "10.0.0.1/8",
      "10.0.0.0/33",
      "10.0.0.0/08",
      "10.0.0.0/-1",
      "10.0.0/8",
      "010.0.0.0/8",
      "10.0.0.0/",
    ),
    ...cidrs(
      "2001:db8::1/32",
      "2001:db8::/129",
      "::ffff:10.0.0.0/104",
      "::ffff:a00:0/104",
      "fe80::%eth0/64",
      "a.example",
      "1::2::3/64",
    ),
    ...cidrs("10.0.0.0/8 ", "256.0.0.0/8", "1:2:3:4:5:6:7:8:9/64", "12345::/32"),
    group("cidrs: [10.0.0.1/8]"),
    config("internalEndpoints: [], podCIDRs: [10.0.0.1/8]").replace("podCIDRs: [10.244.1.0/24], ", ""),
  ),
  ...accepted(
    "address",
    ...resolvers("10.0.0.1", "::1", "2001:db8::1", "2001:DB8::A", "0.0.0.0", "1:2:3:4:5:6:7::", "64:ff9b::10.0.0.1"),
  ),
  ...refused(
    "address",
    ...resolvers(
      "",
      "dns.example",
      "10.0.0",
      "10.0.0.256",
      "010.0.0.1",
      "10.0.0.1/32",
      "1::2::3",
      "fe80::1%eth0",
      "::ffff:10.0.0.1",
    ),
    ...resolvers("::ffff:a00:1", "1:2:3:4:5:6:7:8:9", ":1", "[::1]", "0x0a.0.0.1"),
    config("internalEndpoints: [{ address: x, port: 1 }]"),
  ),
  ...accepted(
    "except-inside-cidrs",
    entry("cidrs: [10.0.0.0/8, 192.0.2.0/24], except: [192.0.2.0/25, 10.1.0.0/16, 10.0.0.0/8]"),
    group("cidrs: ['2001:db8::/32', 10.0.0.0/8], except: ['2001:db8:1::/48', 10.1.0.0/16]"),
  ),
  ...refused("except-with-cidrs", entry("except: [10.0.0.0/8]"), group("domains: [a.example], except: [10.0.0.0/8]")),
  ...accepted("except-with-cidrs", entry("cidrs: [10.0.0.0/8], except: [10.0.0.0/8]")),
  ...refused(
    "except-inside-cidrs",
    group("cidrs: [10.0.0.0/8], except: [10.1.0.0/16, 11.0.0.0/16]"),
    group("cidrs: [10.0.0.0/9], except: [10.0.0.0/8]"),
    group("cidrs: ['::/0'], except: [10.0.0.0/8]"),
  ),
  ...reported("except-inside-cidrs", entry("cidrs: [10.0.0.0/8], except: [11.0.0.0/16]")),
  ...accepted("group-not-empty", group("domains: [a.example]"), group("cidrs: [10.0.0.0/8]")),
  ...refused("group-not-empty", group("")),
  ...accepted(
    "port-with-protocol",
    entry(
      "ports: [{}, { port: 1 }, { protocol: UDP, port: 53 }, { protocol: SCTP, port: 5 }, { protocol: ICMP }, { protocol: Any }]",
    ),
  ),
  ...refused(
    "port-with-protocol",
    entry("ports: [{ protocol: ICMP, port: 8 }]"),
    entry("ports: [{ protocol: Any, port: 8 }]"),
  ),
  ...accepted("end-port", entry("ports: [{ port: 1, endPort: 1 }, { port: 1, endPort: 65535 }]")),
  ...refused("end-port", entry("ports: [{ port: 9, endPort: 8 }]"), entry("ports: [{ endPort: 8 }]")),
  ...accepted(
    "http-without-tls",
    entry("http: {}, tls: { required: false }"),
    entry("http: {}"),
    entry("tls: { required: true }"),
  ),
  ...refused("http-without-tls", entry("http: {}, tls: { required: true }")),
  ...accepted(
    "one-kind-of-path",
    entry("http: { paths: [{ exact: /a }, { prefix: /b/ }, { suffix: .js }, { regex: '/a+' }] }"),
  ),
  ...refused("one-kind-of-path", entry("http: { paths: [{}] }"), entry("http: { paths: [{ exact: /a, prefix: /b }] }")),
  ...accepted(
    "path-spelling",
    ...paths(
      "exact",
      "/",
      "/a",
      "/a/",
      "/a/.b/..c/...",
      "/%20",
      "/a%C3%BC",
      "/~user;v=1,2",
      '/!"$&()*+:<=>@[]^_`{|}',
      "/%21%3A%40%5B%60%7B",
    ),
    ...paths("prefix", "/", "/a/b"),
    ...paths("suffix", ".js", "a", "/a", "../a", "./", "%20", "a/../b"),
  ),
  ...refused(
    "path-spelling",
    ...paths(
      "exact",
      "",
      "a",
      "/a?b",
      "/a#b",
      "/a\\b",
      "/%",
      "/%2",
      "/%zz",
      "/%2f",
      "/%5C",
      "/%00",
      "/%7F",
      "/%41",
      "/%7e",
      "/%c3",
      "/ü",
    ),
    ...paths("exact", "/a b", "//", "/a//b", "/.", "/..", "/a/.", "/a/./b", "/a/../b", "/../a", "/%2E", "/%5F"),
    ...paths("prefix", "", "a/", "/a/..", "/a//"),
    ...paths("suffix", "", "a//b", "/../a", "/a/./", "/.", "/a/..", "%2D", "?a", "ü"),
  ),
  ...accepted(
    "regex-compiles",
    ...paths("regex", "/a[0-9]+", "", "/(?i:a)", "/\\d{3}/\\p{L}+", "(?P<name>a)", "^/a$", "a{1000}", "\\Qa.b\\E"),
  ),
  ...refused(
    "regex-compiles",
    ...paths("regex", "(", "(?=a)", "(?!a)", "(a)\\1", "a{1001}", "[z-a]", "*", "a**", "\\8", "x".repeat(257)),
  ),
  ...accepted("regexes-not-too-heavy", rule(`to: [{ http: { paths: [${repeat(8, () => "{ regex: 'a{1000}' }")}] } }]`)),
  ...reported("regexes-not-too-heavy", rule(`to: [{ http: { paths: [${repeat(9, () => "{ regex: 'a{1000}' }")}] } }]`)),
  ...accepted(
    "mark-mask",
    ...masks(
      "0x3f",
      "63",
      "0x3f00",
      "'0x3f00'",
      "'0X3f'".replace("X", "x"),
      "'0xFC000000'",
      "0xfc000000",
      "'0x0000007e'",
      "'0x1F8'",
    ),
  ),
  ...refused(
    "mark-mask",
    ...masks(
      "0",
      "-63",
      "62",
      "0x3e",
      "0x7f",
      "0x3f3f",
      "'0x3g'",
      "'63'",
      "''",
      "'0x3f '",
      "'0x000000003f'",
      "'0x3f0000000'",
      "0x3f00000000",
      "'0X3f'",
    ),
  ),
  ...accepted(
    "values-with-operator",
    subject(
      "podSelector: { matchExpressions: [{ key: a, operator: In, values: [b, ''] }, { key: a, operator: Exists }] }",
    ),
    subject("namespaceSelector: { matchExpressions: [{ key: a, operator: DoesNotExist, values: [] }] }"),
  ),
  ...refused(
    "values-with-operator",
    ...[
      "operator: In",
      "operator: In, values: []",
      "operator: NotIn",
      "operator: Exists, values: [b]",
      "operator: DoesNotExist, values: [b]",
    ].map((rest) => subject(`podSelector: { matchExpressions: [{ key: a, ${rest} }] }`)),
    own("subject: { podSelector: { matchExpressions: [{ key: a, operator: In }] } }"),
  ),
  ...accepted(
    "label-keys",
    ...labels("a", "a.example/b", "A_b-C.d", "kubernetes.io/metadata.name", label63, `${name253}/a`),
  ),
  ...refused(
    "label-keys",
    ...labels("", "a b", "-a", "a/", "/a", "A.example/b", "a/b/c", `${label63}a`, `${"a".repeat(310)}/abcdefg`),
    subject("namespaceSelector: { matchExpressions: [{ key: 'a b', operator: Exists }] }"),
  ),
  ...accepted("few-labels", subject(`podSelector: { matchLabels: { ${repeat(64, (i) => `l${i}: x`)} } }`)),
  ...refused("few-labels", subject(`podSelector: { matchLabels: { ${repeat(65, (i) => `l${i}: x`)} } }`)),

  ...accepted(
    "longest lists",
    policy(`rules: [${repeat(128, (i) => `{ name: r${i}, action: Next }`)}]`),
    rule(`to: [${repeat(16, () => "{ group: g }")}]`),
    entry(`domains: [${repeat(256, (i) => `n${i}.example`)}]`),
    entry(`cidrs: [${repeat(64, (i) => `10.${i}.0.0/16`)}]`),
    entry(`ports: [${repeat(32, (i) => `{ port: ${i + 1} }`)}]`),
    group(`cidrs: [${repeat(5000, (i) => `10.${i >> 8}.${i % 256}.0/24`)}]`),
    group(
      `cidrs: [${repeat(1500, (i) => `10.${i >> 8}.${i % 256}.0/24`)}], except: [${repeat(32, () => "10.5.219.0/25")}]`,
    ),
    group(`domains: [${repeat(10_000, (i) => `n${i}.example`)}]`),
  ),
  ...refused(
    "longest lists",
    policy(`rules: [${repeat(129, (i) => `{ name: r${i}, action: Next }`)}]`),
    rule(`to: [${repeat(17, () => "{ group: g }")}]`),
    entry(`domains: [${repeat(257, (i) => `n${i}.example`)}]`),
    entry(`cidrs: [${repeat(65, (i) => `10.${i}.0.0/16`)}]`),
    entry(`ports: [${repeat(33, (i) => `{ port: ${i + 1} }`)}]`),
    group(`domains: [${repeat(10_001, (i) => `n${i}.example`)}]`),
  ),
];
