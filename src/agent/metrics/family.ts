export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels?: Labels;
  /** Appended to the family's name: `_bucket`, `_sum`, `_count` of a histogram. */
  readonly suffix?: string;
  readonly value: number;
}

/** One metric as the documentation has it. Names of counters end in `_total`. */
export interface Family<Source> {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** What it is and what to do about it. */
  readonly help: string;
  readonly read: (source: Source) => readonly Sample[];
}

/** A metric without labels. */
export function single<Source>(
  type: "counter" | "gauge",
  name: string,
  help: string,
  read: (source: Source) => number | null,
): Family<Source> {
  const samples = (value: number | null): readonly Sample[] => (value === null ? [] : [{ value }]);
  return { name, type, help, read: (source) => samples(read(source)) };
}

/** A metric with one label whose values come with their numbers. */
export function labelled<Source>(
  type: "counter" | "gauge",
  name: string,
  help: string,
  label: string,
  read: (source: Source) => Iterable<readonly [string, number]>,
): Family<Source> {
  return {
    name,
    type,
    help,
    read: (source) => Array.from(read(source), ([text, value]) => ({ labels: { [label]: text }, value })),
  };
}
