import { setImmediate as nextTurn } from 'node:timers/promises';
import { openMetricsContentType, prometheusContentType } from 'prom-client';
import type { MetricObjectWithValues, MetricValue, Registry } from 'prom-client';

/** The answer to one scrape. */
export interface Exposition {
  /** For the header `Content-Type`. */
  readonly contentType: string;
  /** The whole text, the final newline included. */
  readonly body: string;
}

/** {@link Exposition} that is made as it is read. */
export interface ExpositionStream {
  /** For the header `Content-Type`. */
  readonly contentType: string;
  /** The text in pieces, with a turn of the event loop after each. To be read once. */
  readonly stream: AsyncIterable<string>;
}

/** {@link expositionStream}, all of it. Any number of scrapes may run at a time. */
export async function exposition(registry: Registry, accept: string | undefined): Promise<Exposition> {
  const { contentType, stream } = expositionStream(registry, accept);
  let body = '';
  for await (const piece of stream) body += piece;
  return { contentType, body };
}

/**
 * Everything in `registry`, in the format that the scraper prefers: OpenMetrics 1.0 when `accept` rates it higher than plain
 * text, else the Prometheus text format 0.0.4. Made piece by piece: the series of thousands of routes take a second or two, for which
 * nobody else may have to wait.
 *
 * @param accept the request's header `Accept` (RFC 9110, section 12.5.1), if it had one
 */
export function expositionStream(registry: Registry, accept: string | undefined): ExpositionStream {
  const ranges = parseAccept(accept ?? '');
  const isOpen = quality(ranges, 'application/openmetrics-text', '1.0.0') > quality(ranges, 'text/plain', '0.0.4');
  const contentType = isOpen ? openMetricsContentType : prometheusContentType;
  return { contentType, stream: piecesOf(registry, contentType) };
}

/**
 * The values of everything in `registry`, as prom-client gives them to another process: families in parts, of which several may have one name,
 * with a turn of the event loop after each.
 */
export async function* familyParts(registry: Registry): AsyncGenerator<MetricObjectWithValues<MetricValue<string>>> {
  for (const metric of registry.getMetricsAsArray()) {
    for (const part of await partsOf(metric as unknown as PromMetric)) {
      yield await part.get();
      await nextTurn();
    }
  }
}

async function* piecesOf(registry: Registry, contentType: string): AsyncGenerator<string> {
  const isOpen = contentType === openMetricsContentType;
  // It writes by its content type. prom-client's own switch, `setContentType`, would change the names of the counters for everybody.
  const writer = Object.create(registry, { contentType: { value: contentType } }) as FamilyWriter;
  let separator = '';
  for (const metric of registry.getMetricsAsArray()) {
    const family = metric as unknown as PromMetric;
    yield separator;
    yield* piecesOfFamily(writer, isOpen ? withOpenName(family) : family);
    separator = isOpen ? '\n' : '\n\n';
  }
  yield isOpen ? '\n# EOF\n' : '\n';
}

/** What a metric of prom-client is beside its type: not declared there, and its text is made of nothing else. */
interface PromMetric {
  readonly name: string;
  readonly type: string;
  /** All values. */
  get(): Promise<MetricObjectWithValues<MetricValue<string>>>;
  /** Brings the values up to date. */
  collect?(): void | Promise<void>;
  /** Series by a hash of their labels. Absent for what only looks like a metric. */
  readonly hashMap?: Readonly<Record<string, unknown>>;
}

/** Of a registry, and not declared there either: a family as text. */
interface FamilyWriter {
  getMetricsAsString(family: PromMetric): Promise<string>;
}

/** OpenMetrics names the counter without the suffix of its series. */
function withOpenName(family: PromMetric): PromMetric {
  if (family.type !== 'counter') return family;
  return Object.create(family, { name: { value: family.name.replace(/_total$/, '') } }) as PromMetric;
}

async function* piecesOfFamily(writer: FamilyWriter, family: PromMetric): AsyncGenerator<string> {
  let isFirst = true;
  for (const part of await partsOf(family)) {
    const text = await writer.getMetricsAsString(part);
    yield isFirst ? text : `\n${withoutHeader(text)}`;
    isFirst = false;
    await nextTurn();
  }
}

/** The same metric, each time with some of its series; once without any when it has none. */
async function partsOf(family: PromMetric): Promise<readonly PromMetric[]> {
  if (family.hashMap === undefined) return [family];
  await family.collect?.();
  const series = Object.entries(family.hashMap);
  const count = Math.max(1, Math.ceil(series.length / SERIES_PER_PIECE));
  return Array.from({ length: count }, (_, index) => {
    const some = series.slice(index * SERIES_PER_PIECE, (index + 1) * SERIES_PER_PIECE);
    return Object.create(family, {
      hashMap: { value: Object.fromEntries(some) },
      collect: { value: undefined },
    }) as PromMetric;
  });
}

/** HELP and TYPE have been said. */
function withoutHeader(text: string): string {
  return text.slice(text.indexOf('\n', text.indexOf('\n') + 1) + 1);
}

/** A histogram writes some twenty lines for each: a few milliseconds' work. */
const SERIES_PER_PIECE = 50;

/** One media range of an `Accept` header. */
interface MediaRange {
  readonly type: string;
  /** The version asked for, if any. */
  readonly version: string | undefined;
  /** 0 (never) to 1. */
  readonly q: number;
}

function parseAccept(header: string): MediaRange[] {
  return header.split(',').map((text) => {
    const [type = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
    const value = (name: string): string | undefined =>
      parameters.find((parameter) => parameter.startsWith(`${name}=`))?.slice(name.length + 1);
    return { type, version: value('version'), q: Number(value('q') ?? 1) };
  });
}

/** How much `type` is wanted: the best of the ranges that name it, whatever wildcards say; 0 when none does. */
function quality(ranges: readonly MediaRange[], type: string, version: string): number {
  const naming = ranges.filter((range) => range.type === type && (range.version ?? version) === version);
  return Math.max(0, ...naming.map(({ q }) => q));
}
