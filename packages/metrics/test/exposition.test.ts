import { setImmediate as nextTurn } from 'node:timers/promises';
import { Counter, Histogram, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { exposition, expositionStream, processMetrics } from '../src/index.ts';
import { begun, observed } from './observed.ts';

const PLAIN = 'text/plain; version=0.0.4; charset=utf-8';
const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

const ACCEPT: readonly (readonly [claim: string, header: string | undefined, contentType: string])[] = [
  ['no header', undefined, PLAIN],
  ['an empty header', '', PLAIN],
  ['anything', '*/*', PLAIN],
  ['any text', 'text/*', PLAIN],
  ['a browser', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', PLAIN],
  ['plain text only', 'text/plain', PLAIN],
  ['OpenMetrics only', 'application/openmetrics-text', OPEN_METRICS],
  ['OpenMetrics in capitals', 'Application/OpenMetrics-Text; Version=1.0.0', OPEN_METRICS],
  ['OpenMetrics of a version that is not spoken here', 'application/openmetrics-text;version=0.0.1', PLAIN],
  ['both, OpenMetrics rather', 'text/plain;q=0.4,application/openmetrics-text;q=0.5', OPEN_METRICS],
  ['both, plain text rather', 'text/plain;q=0.5,application/openmetrics-text;q=0.4', PLAIN],
  ['OpenMetrics never', 'application/openmetrics-text;q=0, */*', PLAIN],
  [
    'Prometheus 2',
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
    OPEN_METRICS,
  ],
  [
    'Prometheus 3',
    'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1',
    OPEN_METRICS,
  ],
  ['nonsense', ';;q=x,,=', PLAIN],
];

describe('the format follows the Accept header', () => {
  it.each(ACCEPT)('%s', async (_claim, header, contentType) => {
    expect((await exposition(new Registry(), header)).contentType).toBe(contentType);
  });
});

describe('a scrape of thousands of routes', () => {
  it('shares turns of the event loop with other scrapes: each has one piece at most, however many scrape', async () => {
    const registry = new Registry();
    for (const name of ['one', 'two', 'three'])
      new Counter({ name: `${name}_total`, help: 'Series', labelNames: ['of'], registers: [registry] }).inc({
        of: 'x',
      });
    const perTurn = [0];
    const scrape = async (): Promise<void> => {
      for await (const piece of expositionStream(registry, undefined).stream)
        if (piece.includes('# HELP')) perTurn.push((perTurn.pop() ?? 0) + 1);
    };
    const done = Promise.all(Array.from({ length: 20 }, scrape)).then(() => perTurn.push(-1));
    while (perTurn.at(-1) !== -1) {
      await nextTurn();
      if (perTurn.at(-1) !== -1) perTurn.push(0);
    }
    await done;
    expect(Math.max(...perTurn)).toBe(1);
  });

  it('does not block the event loop: no turn is long', async () => {
    const { registry } = observed();
    const counter = new Counter({ name: 'used_total', help: 'h', labelNames: ['route'], registers: [registry] });
    const buckets = Array.from({ length: 20 }, (_, index) => index);
    const seconds = new Histogram({
      name: 'seconds',
      help: 'h',
      labelNames: ['route'],
      buckets,
      registers: [registry],
    });
    for (let route = 0; route < 5_000; route += 1) {
      counter.inc({ route });
      seconds.observe({ route }, 1);
    }
    const complete = await registry.metrics();
    let turns = 0;
    let text = '';
    const watch = setInterval(() => (turns += 1), 0);
    let longestPiece = 0;
    for await (const piece of expositionStream(registry, PLAIN).stream) {
      longestPiece = Math.max(longestPiece, piece.split('\n').length);
      text += piece;
    }
    clearInterval(watch);
    expect(text).toBe(complete);
    expect(turns).toBeGreaterThan(50);
    expect(longestPiece).toBeLessThan(1_500);
  });
});

describe('OpenMetrics', () => {
  it('names a counter without _total and its series with it, and ends with EOF', async () => {
    const { registry } = observed(...begun('1'));
    const { body } = await exposition(registry, OPEN_METRICS);
    expect(body).toContain('# TYPE meshgate_connections_accepted counter\n');
    expect(body).toContain('\nmeshgate_connections_accepted_total{listener="edge"} 1\n');
    expect(body.endsWith('\n# EOF\n')).toBe(true);
  });

  it('leaves the registry as it was for the next plain scrape', async () => {
    const { registry } = observed(...begun('1'));
    const before = await exposition(registry, PLAIN);
    await exposition(registry, OPEN_METRICS);
    expect(await exposition(registry, PLAIN)).toEqual(before);
    expect(registry.contentType).toBe(PLAIN);
  });

  it('and plain text do not mix when they are scraped at the same time', async () => {
    const { registry } = observed(...begun('1'));
    const [plain, open] = [await exposition(registry, PLAIN), await exposition(registry, OPEN_METRICS)];
    const together = await Promise.all(
      [PLAIN, OPEN_METRICS, PLAIN, OPEN_METRICS].map((type) => exposition(registry, type)),
    );
    expect(together).toEqual([plain, open, plain, open]);
  });

  it('keeps the labels that the registry adds to everything', async () => {
    const registry = new Registry();
    registry.setDefaultLabels({ site: 'north' });
    new Counter({ name: 'seen_total', help: 'Seen', registers: [registry] }).inc();
    expect((await exposition(registry, OPEN_METRICS)).body).toContain('\nseen_total{site="north"} 1\n');
  });
});

describe('process metrics', () => {
  it('report version and usage, in their own registry', async () => {
    const registry = new Registry();
    processMetrics(registry, { version: '1.2.3' });
    const { body } = await exposition(registry, undefined);
    expect(body).toContain(`meshgate_build_info{version="1.2.3",node="${process.version}"} 1\n`);
    expect(body).toMatch(/^process_resident_memory_bytes \d+$/m);
    expect(body).toMatch(/^nodejs_eventloop_lag_p99_seconds /m);
    expect(body).not.toContain('nodejs_active_');
  });
});
