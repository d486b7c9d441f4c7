/** One line of a metric. */
export interface MetricSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface MetricFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: MetricSample[];
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"';
const SAMPLE = new RegExp(
  `^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)?\\})? (-?(?:[0-9.]+(?:e[+-]?[0-9]+)?|\\+?Inf|NaN)|\\+Inf)$`,
  "i",
);
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total"],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"],
};

/** Reads OpenMetrics 1.0 text strictly. @throws Error that names the first line that is wrong */
export function parseOpenMetrics(text: string): Map<string, MetricFamily> {
  const lines = text.split("\n");
  if (lines.pop() !== "" || lines.pop() !== "# EOF") throw new Error("it does not end with `# EOF`");
  const families = new Map<string, MetricFamily>();
  const helps = new Map<string, string>();
  let current: MetricFamily | null = null;
  for (const line of lines) {
    const head = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`).exec(line);
    if (head !== null) {
      const [, what, name = "", rest = ""] = head;
      if (what === "HELP") {
        helps.set(name, rest);
        continue;
      }
      if (families.has(name)) throw new Error(`\`${name}\` stands there twice`);
      current = { name, type: rest, help: helps.get(name) ?? "", samples: [] };
      families.set(name, current);
      continue;
    }
    const sample = readSample(line);
    const suffixes = SUFFIXES[current?.type ?? ""] ?? [];
    if (current === null || !suffixes.some((suffix) => sample.name === `${current?.name}${suffix}`)) {
      throw new Error(`\`${line}\` is not of \`${current?.name}\``);
    }
    current.samples.push(sample);
  }
  for (const family of families.values()) check(family);
  return families;
}

function readSample(line: string): MetricSample {
  const match = SAMPLE.exec(line);
  if (match === null) throw new Error(`\`${line}\` cannot be read`);
  const [, name = "", labels = "", value = ""] = match;
  const pairs = [...labels.matchAll(/([a-zA-Z0-9_]+)="((?:[^"\\]|\\.)*)"/g)];
  return {
    name,
    labels: Object.fromEntries(pairs.map(([, key = "", text = ""]) => [key, plainText(text)])),
    value: value === "+Inf" ? Infinity : Number(value),
  };
}

function plainText(text: string): string {
  return text.replace(/\\(.)/g, (_, letter: string) => (letter === "n" ? "\n" : letter));
}

function check({ name, type, samples }: MetricFamily): void {
  const keys = samples.map((sample) => JSON.stringify([sample.name, Object.entries(sample.labels).sort()]));
  if (new Set(keys).size !== keys.length) throw new Error(`\`${name}\` has a sample twice`);
  if (type === "counter" && samples.some(({ value }) => !(value >= 0))) throw new Error(`\`${name}\` is below zero`);
  if (type !== "histogram" || samples.length === 0) return;
  const groups = new Map<string, MetricSample[]>();
  for (const sample of samples) {
    const { le: _, ...others } = sample.labels;
    const key = JSON.stringify(others);
    groups.set(key, [...(groups.get(key) ?? []), sample]);
  }
  for (const group of groups.values()) {
    const buckets = group.filter((sample) => sample.name.endsWith("_bucket"));
    const rising = buckets.every((bucket, i) => i === 0 || bucket.value >= buckets[i - 1]!.value);
    const count = group.find((sample) => sample.name.endsWith("_count"))?.value;
    if (!rising || buckets.at(-1)?.labels.le !== "+Inf" || buckets.at(-1)?.value !== count) {
      throw new Error(`the buckets of \`${name}\` do not add up`);
    }
  }
}

/** Sum of the samples of `name` that carry these labels. */
export function metric(
  families: ReadonlyMap<string, MetricFamily>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const family = [...families.values()].find((one) => one.samples.some((sample) => sample.name === name));
  const fitting = (family?.samples ?? []).filter(
    (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  );
  return fitting.reduce((sum, sample) => sum + sample.value, 0);
}
