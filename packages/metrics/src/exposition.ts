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

/** An {@link Exposition} as a stream. */
export interface ExpositionStream {
  /** The `Content-Type` header. */
  readonly contentType: string;
  /** The text in pieces, with a turn of the event loop after each. Can be read once. */
  readonly stream: AsyncIterable<string>;
}

/** Returns the collected {@link expositionStream}. Any number of scrapes may run concurrently. */
export async function exposition(registry: Registry, accept: string | undefined): Promise<Exposition> {
  const { contentType, stream } = expositionStream(registry, accept);
  let body = '';
  for await (const piece of stream) body += piece;
  return { contentType, body };
}

/**
 * Formats all metrics of `registry` in the format that the scraper prefers: OpenMetrics 1.0 if `accept` rates it higher
 * than plain text, otherwise the Prometheus text format 0.0.4. Streamed, since formatting the series of thousands of
 * routes takes a second or two, which must not block other work.
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
 * Yields the values of all metrics in `registry`, in the form that prom-client sends between processes: families in
 * parts, of which several may have the same name, with a turn of the event loop after each.
 */
export async function* familyParts(registry: Registry): AsyncGenerator<MetricObjectWithValues<MetricValue<string>>> {
  for (const metric of registry.getMetricsAsArray()) {
    for (const part of await partsOf(metric as unknown as PromMetric)) {
      yield await part.get();
      await ownTurn();
    }
  }
}

async function* piecesOf(registry: Registry, contentType: string): AsyncGenerator<string> {
  const isOpen = contentType === openMetricsContentType;
  // Formats with this content type. prom-client's own `setContentType` would rename the counters globally.
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

/** Members of prom-client's metrics that its types do not declare; their text is generated from these. */
interface PromMetric {
  readonly name: string;
  readonly type: string;
  /** All values. */
  get(): Promise<MetricObjectWithValues<MetricValue<string>>>;
  /** Updates the values. */
  collect?(): void | Promise<void>;
  /** Series by a hash of their labels. Absent for metrics of another implementation. */
  readonly hashMap?: Readonly<Record<string, unknown>>;
}

/** Undeclared member of a registry: formats a family as text. */
interface FamilyWriter {
  getMetricsAsString(family: PromMetric): Promise<string>;
}

/** OpenMetrics names a counter without the suffix of its series. */
function withOpenName(family: PromMetric): PromMetric {
  if (family.type !== 'counter') return family;
  return Object.create(family, { name: { value: family.name.replace(/_total$/, '') } }) as PromMetric;
}

async function* piecesOfFamily(writer: FamilyWriter, family: PromMetric): AsyncGenerator<string> {
  let isFirst = true;
  for (const part of await partsOf(family)) {
    await ownTurn();
    const text = await writer.getMetricsAsString(part);
    yield isFirst ? text : `\n${withoutHeader(text)}`;
    isFirst = false;
  }
}

/** Splits a metric into parts with some of its series each; a metric without series has one part. */
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

/**
 * Resolves in a turn of the event loop that no other scrape uses: fifty concurrent scrapes take longer, but no turn
 * does.
 */
function ownTurn(): Promise<void> {
  lastTurn = lastTurn.then(() => nextTurn());
  return lastTurn;
}

/** Shared by all registries, since there is one event loop. */
let lastTurn: Promise<void> = Promise.resolve();

/** Removes HELP and TYPE, which have been written. */
function withoutHeader(text: string): string {
  return text.slice(text.indexOf('\n', text.indexOf('\n') + 1) + 1);
}

/** A histogram takes about twenty lines per series: a few milliseconds per piece. */
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

/** Returns the weight of `type`: that of the best range that names it, without wildcards; 0 if there is none. */
function quality(ranges: readonly MediaRange[], type: string, version: string): number {
  const naming = ranges.filter((range) => range.type === type && (range.version ?? version) === version);
  return Math.max(0, ...naming.map(({ q }) => q));
}
