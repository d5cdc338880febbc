import { openMetricsContentType, prometheusContentType } from 'prom-client';
import type { Metric, Registry } from 'prom-client';

/** The answer to one scrape. */
export interface Exposition {
  /** For the header `Content-Type`. */
  readonly contentType: string;
  /** The whole text, the final newline included. */
  readonly body: string;
}

/**
 * Everything in `registry`, in the format that the scraper prefers: OpenMetrics 1.0 when `accept` rates it higher than plain
 * text, else the Prometheus text format 0.0.4. Any number of scrapes may run at a time.
 *
 * @param accept the request's header `Accept` (RFC 9110, section 12.5.1), if it had one
 */
export async function exposition(registry: Registry, accept: string | undefined): Promise<Exposition> {
  const ranges = parseAccept(accept ?? '');
  return quality(ranges, 'application/openmetrics-text', '1.0.0') > quality(ranges, 'text/plain', '0.0.4')
    ? { contentType: openMetricsContentType, body: await asOpenMetrics(registry).metrics() }
    : { contentType: prometheusContentType, body: await registry.metrics() };
}

/**
 * `registry` as it looks in OpenMetrics, itself untouched. prom-client's own switch, `setContentType`, cuts `_total` off the
 * names of the counters and leaves them so: the next plain scrape would show other names. Here that happens to objects that
 * stand before the metrics for one scrape.
 */
function asOpenMetrics(registry: Registry): Registry {
  const metrics = registry.getMetricsAsArray().map((metric) => Object.create(metric) as Metric);
  return Object.create(registry, {
    contentType: { value: openMetricsContentType },
    getMetricsAsArray: { value: () => metrics },
  }) as Registry;
}

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
