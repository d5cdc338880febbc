import { setImmediate as nextTurn } from 'node:timers/promises';
import { openMetricsContentType, prometheusContentType } from 'prom-client';
import type { MetricObjectWithValues, MetricValue, Registry } from 'prom-client';

/** The response to one scrape. */
export interface Exposition {
  /** The `Content-Type` header. */
  readonly contentType: string;
  /** The complete text, including the final newline. */
  readonly body: string;
}

/** {@link Exposition}, streamed. */
export interface ExpositionStream {
  /** The `Content-Type` header. */
  readonly contentType: string;
  /** The text in pieces, with a turn of the event loop after each. To be read once. */
  readonly stream: AsyncIterable<string>;
}

/** {@link expositionStream}, collected. Any number of scrapes may run concurrently. */
export async function exposition(registry: Registry, accept: string | undefined): Promise<Exposition> {
  const { contentType, stream } = expositionStream(registry, accept);
  let body = '';
  for await (const piece of stream) body += piece;
  return { contentType, body };
}

/**
 * Everything in `registry`, in the format that the scraper prefers: OpenMetrics 1.0 when `accept` rates it higher than
 * plain text, else the Prometheus text format 0.0.4. Streamed: the series of thousands of routes take a second or two,
 * which must not block other work.
 *
 * @param accept the request's `Accept` header (RFC 9110, section 12.5.1), if any
 */
export function expositionStream(registry: Registry, accept: string | undefined): ExpositionStream {
  const ranges = parseAccept(accept ?? '');
  const isOpen = quality(ranges, 'application/openmetrics-text', '1.0.0') > quality(ranges, 'text/plain', '0.0.4');
  const contentType = isOpen ? openMetricsContentType : prometheusContentType;
  return { contentType, stream: piecesOf(registry, contentType) };
}

/**
 * The values of everything in `registry`, as prom-client passes them between processes: families in parts, of which
 * several may have one name, with a turn of the event loop after each.
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
  // Formats by its content type. prom-client's own switch, `setContentType`, would change the names of the counters
  // globally.
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

/** Undeclared members of prom-client's metrics, from which their text is generated. */
interface PromMetric {
  readonly name: string;
  readonly type: string;
  /** All values. */
  get(): Promise<MetricObjectWithValues<MetricValue<string>>>;
  /** Updates the values. */
  collect?(): void | Promise<void>;
  /** Series by a hash of their labels. Absent for a metric of another kind. */
  readonly hashMap?: Readonly<Record<string, unknown>>;
}

/** Undeclared member of a registry: a family as text. */
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

/** The same metric with a part of its series each time; once without any when it has none. */
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

/** HELP and TYPE have been written. */
function withoutHeader(text: string): string {
  return text.slice(text.indexOf('\n', text.indexOf('\n') + 1) + 1);
}

/** A histogram writes about twenty lines per series: a few milliseconds in all. */
const SERIES_PER_PIECE = 50;

/** One media range of an `Accept` header. */
interface MediaRange {
  readonly type: string;
  /** The requested version, if any. */
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

/** The weight of `type`: that of the best matching range that names it, ignoring wildcards; 0 when none does. */
function quality(ranges: readonly MediaRange[], type: string, version: string): number {
  const naming = ranges.filter((range) => range.type === type && (range.version ?? version) === version);
  return Math.max(0, ...naming.map(({ q }) => q));
}
