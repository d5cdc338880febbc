import { exposition, expositionStream, familyParts } from '@meshgate/metrics';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import type { MetricFamily } from '../src/workers/messages.ts';
import { MetricsAggregator } from '../src/workers/metrics-aggregator.ts';

/** A process with this count. */
function process(values: Readonly<Record<string, number>>): Registry {
  const registry = new Registry();
  const registers = [registry];
  for (const [name, value] of Object.entries(values)) {
    if (name.endsWith('_total'))
      new Counter({ name, help: 'h', labelNames: ['route'], registers }).inc({ route: 'a' }, value);
    else if (name.endsWith('_seconds')) new Histogram({ name, help: 'h', buckets: [1], registers }).observe(value);
    else new Gauge({ name, help: 'h', registers }).set(value);
  }
  return registry;
}

async function shown(
  aggregator: MetricsAggregator<string>,
  own: Registry,
  accept = 'text/plain',
): Promise<readonly string[]> {
  const { body } = await exposition(await aggregator.total(await own.getMetricsAsJSON()), accept);
  return body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

describe('the metrics of all processes', () => {
  it('are sums, except for gauges whose sum is meaningless', async () => {
    const aggregator = new MetricsAggregator<string>();
    const own = process({ c_total: 1, g: 1, meshgate_listener_paused: 0, meshgate_source_routes: 9 });
    for (const worker of ['1', '2'])
      aggregator.update(
        worker,
        await process({
          c_total: 2,
          g: 3,
          meshgate_listener_up: Number(worker === '1'),
          meshgate_listener_paused: 1,
          meshgate_source_routes: 5,
        }).getMetricsAsJSON(),
      );
    expect(await shown(aggregator, own)).toEqual([
      'c_total{route="a"} 5',
      'g 7',
      'meshgate_listener_paused 1',
      'meshgate_source_routes 9',
      'meshgate_listener_up 0',
    ]);
  });

  it('have the same names in OpenMetrics as those of one process', async () => {
    const aggregator = new MetricsAggregator<string>();
    const own = process({ c_total: 1, d_seconds: 2 });
    aggregator.update('1', await process({ c_total: 1, d_seconds: 2 }).getMetricsAsJSON());
    const names = (lines: readonly string[]) => lines.map((line) => line.split(' ')[0]);
    const { body } = await exposition(own, 'application/openmetrics-text');
    const ofOne = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(names(await shown(aggregator, own, 'application/openmetrics-text'))).toEqual(names(ofOne));
  });

  it('never decrease through the rounding of a sum when workers exit, in any order', async () => {
    const aggregator = new MetricsAggregator<string>();
    const seconds = { '1': 0.1, '2': 0.000_244_474, '3': 1_234_567.7, '4': 0.3 };
    for (const [worker, d_seconds] of Object.entries(seconds))
      aggregator.update(worker, await process({ d_seconds }).getMetricsAsJSON());
    const own = process({ d_seconds: 0.7 });
    const sum = async (): Promise<string | undefined> =>
      (await shown(aggregator, own)).find((line) => line.startsWith('d_seconds_sum'));
    const before = await sum();
    for (const worker of ['3', '1', '4', '2']) {
      await aggregator.retire(worker);
      expect(await sum()).toBe(before);
    }
  });

  it('keep the counters of exited workers, but not their gauges', async () => {
    const aggregator = new MetricsAggregator<string>();
    for (const worker of ['1', '2', '3'])
      aggregator.update(worker, await process({ c_total: 2, d_seconds: 2, g: 3 }).getMetricsAsJSON());
    await Promise.all([aggregator.retire('1'), aggregator.retire('2')]);
    const own = process({ c_total: 1 });
    expect(await shown(aggregator, own)).toEqual([
      'c_total{route="a"} 7',
      'd_seconds_bucket{le="1"} 0',
      'd_seconds_bucket{le="+Inf"} 3',
      'd_seconds_sum 6',
      'd_seconds_count 3',
      'g 3',
    ]);
  });

  it('lose the series of a route that no source has any more', async () => {
    const aggregator = new MetricsAggregator<string>();
    aggregator.update('1', await process({ c_total: 2 }).getMetricsAsJSON());
    await aggregator.retire('1');
    await aggregator.removed(['a']);
    expect(await shown(aggregator, new Registry())).toEqual([]);
  });

  it('lose them also when a worker exits at that moment, before it was queried again', async () => {
    for (const order of ['removed first', 'departed first']) {
      const aggregator = new MetricsAggregator<string>();
      aggregator.update('1', await process({ c_total: 2 }).getMetricsAsJSON());
      const steps = [() => aggregator.removed(['a']), () => aggregator.retire('1')];
      if (order === 'departed first') steps.reverse();
      await Promise.all(steps.map((step) => step()));
      expect(await shown(aggregator, new Registry())).toEqual([]);
    }
  });

  it('of thousands of routes are added up and written out in turns of the event loop', async () => {
    const registry = new Registry();
    const settings = {
      name: 'd_seconds',
      help: 'h',
      labelNames: ['route'],
      buckets: [1, 2, 3, 4],
      registers: [registry],
    };
    const histogram = new Histogram(settings);
    for (let route = 0; route < 5_000; route += 1) histogram.observe({ route }, 2.5);
    const parts: MetricFamily[] = [];
    for await (const part of familyParts(registry)) parts.push(part);
    expect(Math.max(...parts.map(({ values }) => values.length))).toBeLessThan(1_000);
    const aggregator = new MetricsAggregator<string>();
    for (const worker of ['1', '2']) aggregator.update(worker, parts);
    let turns = 0;
    const watch = setInterval(() => (turns += 1), 0);
    const total = await aggregator.total(parts);
    clearInterval(watch);
    expect(turns).toBeGreaterThan(20);
    let [longest, text] = [0, ''];
    for await (const piece of expositionStream(total, 'text/plain').stream) {
      longest = Math.max(longest, piece.split('\n').length);
      text += piece;
    }
    expect(longest).toBeLessThan(1_500);
    expect(text.match(/^d_seconds_bucket\{le="3",route="4999"\} 3$/m)).not.toBeNull();
    expect(text.match(/^d_seconds_count/gm)).toHaveLength(5_000);
  });
});
