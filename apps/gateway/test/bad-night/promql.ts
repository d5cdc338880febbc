// The subset of PromQL that the project's rules use, so that they are evaluated on real scrapes on every machine; the
// same examples compare its results with promtool's.

/** One series of a scrape. */
export interface Sample {
  /** The labels, with the metric's name as `__name__`. */
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** All series of one scrape. */
export interface Scrape {
  /** Seconds since an arbitrary time, the same for all scrapes. */
  readonly at: number;
  /** Seconds of Unix time, for expressions that use `time()`. */
  readonly unixTime: number;
  readonly samples: readonly Sample[];
}

/** Parses the Prometheus text format. */
export function samplesOf(exposition: string): readonly Sample[] {
  return exposition.split('\n').flatMap((line) => {
    const [, name, labels = '', value] = /^([a-z_]\w*)(?:\{(.*)\})? (\S+)$/i.exec(line) ?? [];
    return name === undefined ? [] : [{ labels: { __name__: name, ...labelsOf(labels) }, value: Number(value) }];
  });
}

function labelsOf(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Array.from(text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g), ([, name = '', value = '']) => [name, value]),
  );
}

/** Whether `expr` has a result at the last of `scrapes`, with earlier ones for its ranges. */
export function holds(expr: string, scrapes: readonly Scrape[]): boolean {
  const value = new Evaluation(expr, scrapes).result();
  return typeof value === 'number' || value.length > 0;
}

type Vector = readonly Sample[];
type Value = number | Vector;

const TOKEN = /\s*(\d+[smhd]|[\d.]+|\w+|"(?:[^"\\]|\\.)*"|=~|!~|!=|==|>=|<=|[-+*/()[\]{},=<>])/gy;

/** Parses and evaluates in one pass: an expression is evaluated at one time. */
class Evaluation {
  readonly #tokens: readonly string[];
  readonly #scrapes: readonly Scrape[];
  #at = 0;

  constructor(expr: string, scrapes: readonly Scrape[]) {
    this.#tokens = Array.from(expr.matchAll(TOKEN), ([, token = '']) => token);
    if (this.#tokens.join('') !== expr.replaceAll(/\s/g, '')) throw new Error(`expected PromQL, found ${expr}`);
    this.#scrapes = scrapes;
  }

  result(): Value {
    const value = this.#binary(0);
    if (this.#at < this.#tokens.length) throw new Error(`unexpected ${this.#peek()}`);
    return value;
  }

  #peek(): string {
    return this.#tokens[this.#at] ?? '';
  }

  #next(): string {
    this.#at += 1;
    return this.#tokens[this.#at - 1] ?? '';
  }

  #take(token: string): boolean {
    if (this.#peek() !== token) return false;
    this.#at += 1;
    return true;
  }

  #expect(token: string): void {
    if (!this.#take(token)) throw new Error(`expected ${token}, found ${this.#peek()}`);
  }

  #binary(strength: number): Value {
    let lhs = this.#operand();
    for (;;) {
      const operator = this.#peek();
      const own = STRENGTH[operator];
      if (own === undefined || own < strength) return lhs;
      this.#at += 1;
      const on = this.#take('on') ? this.#labels() : undefined;
      lhs = combined(operator, [lhs, this.#binary(own + 1)], on);
    }
  }

  #operand(): Value {
    if (this.#take('(')) return this.#closing(this.#binary(0));
    const token = this.#next();
    if (/^[\d.]+$/.test(token)) return Number(token);
    if (token === 'time') {
      this.#expect('(');
      return this.#closing(this.#scrapes.at(-1)?.unixTime ?? 0);
    }
    if (token === 'sum' || token === 'max') return this.#aggregation(token);
    const over = OVER_TIME[token];
    if (over === undefined) return this.#selected(token, this.#scrapes.at(-1));
    this.#expect('(');
    return this.#closing(this.#range(over));
  }

  /** Names in brackets. */
  #labels(): readonly string[] {
    const names: string[] = [];
    this.#expect('(');
    while (!this.#take(')')) if (!this.#take(',')) names.push(this.#next());
    return names;
  }

  #closing(value: Value): Value {
    this.#expect(')');
    return value;
  }

  #aggregation(how: 'sum' | 'max'): Value {
    const by = this.#take('by') ? this.#labels() : [];
    this.#expect('(');
    const vector = this.#closing(this.#binary(0));
    if (typeof vector === 'number') throw new Error(`expected series in ${how}`);
    const groups = new Map<string, Sample>();
    for (const { labels: all, value } of vector) {
      const labels = Object.fromEntries(by.map((label) => [label, all[label] ?? '']));
      const key = JSON.stringify(labels);
      const before = groups.get(key)?.value;
      const together = before === undefined ? value : how === 'max' ? Math.max(before, value) : before + value;
      groups.set(key, { labels, value: together });
    }
    return Array.from(groups.values());
  }

  #range(over: (values: readonly Point[]) => number | undefined): Vector {
    const name = this.#next();
    const matches = this.#matchers();
    this.#expect('[');
    const [, count = '', unit = ''] = /^(\d+)([smhd])$/.exec(this.#next()) ?? [];
    this.#expect(']');
    const from = (this.#scrapes.at(-1)?.at ?? 0) - Number(count) * (SECONDS[unit] ?? 0);
    const points = new Map<string, { readonly labels: Sample['labels']; readonly values: Point[] }>();
    for (const { at, samples } of this.#scrapes) {
      if (at < from) continue;
      for (const { labels, value } of samples) {
        if (labels['__name__'] !== name || !matches(labels)) continue;
        const key = JSON.stringify(labels);
        const series = points.get(key) ?? { labels, values: [] };
        series.values.push({ at, value });
        points.set(key, series);
      }
    }
    return Array.from(points.values()).flatMap(({ labels, values }) => {
      const value = over(values);
      return value === undefined ? [] : [{ labels: unnamed(labels), value }];
    });
  }

  #selected(name: string, scrape: Scrape | undefined): Vector {
    const matches = this.#matchers();
    return (scrape?.samples ?? []).filter(({ labels }) => labels['__name__'] === name && matches(labels));
  }

  #matchers(): (labels: Sample['labels']) => boolean {
    const tests: ((labels: Sample['labels']) => boolean)[] = [];
    if (!this.#take('{')) return () => true;
    while (!this.#take('}')) {
      if (this.#take(',')) continue;
      const label = this.#next();
      const operator = this.#next();
      const text = JSON.parse(this.#next()) as string;
      const pattern = new RegExp(`^(?:${text})$`);
      const isIn = (labels: Sample['labels']): boolean =>
        operator.endsWith('~') ? pattern.test(labels[label] ?? '') : (labels[label] ?? '') === text;
      tests.push((labels) => isIn(labels) !== operator.startsWith('!'));
    }
    return (labels) => tests.every((test) => test(labels));
  }
}

interface Point {
  readonly at: number;
  readonly value: number;
}

const STRENGTH: Readonly<Record<string, number>> = {
  or: 0,
  unless: 1,
  '==': 2,
  '!=': 2,
  '>': 2,
  '<': 2,
  '>=': 2,
  '<=': 2,
  '+': 3,
  '-': 3,
  '*': 4,
  '/': 4,
};

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Without extrapolation to the ends of the range, which changes no sign and no ratio of counters scraped together. */
function increase(points: readonly Point[]): number | undefined {
  if (points.length < 2) return undefined;
  // A counter that decreases was reset.
  return points
    .slice(1)
    .reduce(
      (sum, { value }, index) =>
        sum + (value >= (points[index]?.value ?? 0) ? value - (points[index]?.value ?? 0) : value),
      0,
    );
}

const OVER_TIME: Readonly<Record<string, (points: readonly Point[]) => number | undefined>> = {
  increase,
  rate(points) {
    const grown = increase(points);
    const seconds = (points.at(-1)?.at ?? 0) - (points[0]?.at ?? 0);
    return grown === undefined ? undefined : grown / seconds;
  },
  min_over_time: (points) => Math.min(...points.map(({ value }) => value)),
  max_over_time: (points) => Math.max(...points.map(({ value }) => value)),
};

const ARITHMETIC: Readonly<Record<string, (one: number, other: number) => number>> = {
  '+': (one, other) => one + other,
  '-': (one, other) => one - other,
  '*': (one, other) => one * other,
  '/': (one, other) => one / other,
};

const COMPARISON: Readonly<Record<string, (one: number, other: number) => boolean>> = {
  '==': (one, other) => one === other,
  '!=': (one, other) => one !== other,
  '>': (one, other) => one > other,
  '<': (one, other) => one < other,
  '>=': (one, other) => one >= other,
  '<=': (one, other) => one <= other,
};

/** @param on labels by which series of both sides are matched */
function combined(operator: string, [lhs, right]: readonly [Value, Value], on: readonly string[] | undefined): Value {
  if (operator === 'or') return [...vectorOf(lhs), ...vectorOf(right)];
  if (operator === 'unless') {
    const keyOf = ({ labels }: Sample): string =>
      JSON.stringify(on?.map((name) => labels[name] ?? '') ?? unnamed(labels));
    const others = new Set(vectorOf(right).map(keyOf));
    return vectorOf(lhs).filter((sample) => !others.has(keyOf(sample)));
  }
  const compare = COMPARISON[operator];
  if (compare !== undefined) {
    if (typeof right !== 'number') throw new Error('expected a number to compare with');
    return vectorOf(lhs).filter(({ value }) => compare(value, right));
  }
  const calculate = ARITHMETIC[operator];
  if (calculate === undefined) throw new Error(`unexpected ${operator}`);
  if (typeof lhs === 'number' && typeof right === 'number') return calculate(lhs, right);
  if (typeof right === 'number')
    return vectorOf(lhs).map(({ labels, value }) => ({ labels: unnamed(labels), value: calculate(value, right) }));
  const others = new Map(right.map(({ labels, value }) => [JSON.stringify(unnamed(labels)), value]));
  return vectorOf(lhs).flatMap(({ labels, value }) => {
    const other = others.get(JSON.stringify(unnamed(labels)));
    return other === undefined ? [] : [{ labels: unnamed(labels), value: calculate(value, other) }];
  });
}

function vectorOf(value: Value): Vector {
  if (typeof value === 'number') throw new Error('expected series, found a number');
  return value;
}

function unnamed({ __name__: _name, ...labels }: Sample['labels']): Sample['labels'] {
  return labels;
}
