import { RouteTable } from '@meshgate/core/parts';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { PluginServices } from '../src/config/plugin-services.ts';
import { openLog } from '../src/log/logger.ts';

async function lending() {
  const services = new PluginServices({ baseDir: '/', process: 'single' });
  const registry = new Registry();
  const settings = { level: 'error', format: 'json', access: false, quiet: [] } as const;
  const log = await openLog(settings, { fd: 1, isTerminal: false });
  services.connect({ registry, logger: log.logger, routes: { table: new RouteTable([]) } });
  return { services, registry };
}

const HITS = { name: 'hits_total', help: 'Hits' };
const ENDS = { name: 'ends', help: 'When it ends', labels: ['of'] };

async function seriesOf(registry: Registry): Promise<readonly string[]> {
  return Array.from((await registry.metrics()).matchAll(/^meshgate_plugin_source_ends(.*)$/gm), ([, one = '']) => one);
}

describe('the services of plugins', () => {
  it('end with the use of the plugin: its warning is cleared, that of another use remains', async () => {
    const { services } = await lending();
    const [gone, stays] = [services.lend('source'), services.lend('source')];
    gone.services.reportWarning('the token expires today');
    stays.services.reportWarning('the licence ends');
    expect(services.warnings).toHaveLength(2);
    services.keepOnly(new Set([stays]));
    expect(services.warnings).toEqual(['plugin source: the licence ends']);
    gone.services.reportWarning('still there');
    expect(services.warnings).toEqual(['plugin source: the licence ends']);
  });

  it('include metrics, which several uses share, and which are removed with the last of them', async () => {
    const { services, registry } = await lending();
    const [one, other] = [services.lend('source'), services.lend('source')];
    for (const { services: lent } of [one, other]) lent.metrics.counter(HITS).add();
    expect(await registry.metrics()).toContain('meshgate_plugin_source_hits_total 2');
    services.keepOnly(new Set([other]));
    expect(await registry.metrics()).toContain('meshgate_plugin_source_hits_total 2');
    services.keepOnly(new Set());
    expect(await registry.metrics()).not.toContain('hits_total');
  });

  it('include gauges: the series of a use end with it, and shared ones have the value of the other use', async () => {
    const { services, registry } = await lending();
    const [gone, stays] = [services.lend('source'), services.lend('source')];
    const [ofGone, ofOther] = [gone, stays].map(({ services: lent }) => lent.metrics.gauge(ENDS));
    ofOther?.set(1, { of: 'mesh' });
    ofOther?.set(1, { of: 'peer a' });
    ofGone?.set(2, { of: 'mesh' });
    ofGone?.set(2, { of: 'peer b' });
    expect((await seriesOf(registry)).toSorted()).toEqual(['{of="mesh"} 2', '{of="peer a"} 1', '{of="peer b"} 2']);
    services.keepOnly(new Set([stays]));
    ofGone?.set(3, { of: 'peer c' });
    ofGone?.remove({ of: 'peer a' });
    expect((await seriesOf(registry)).toSorted()).toEqual(['{of="mesh"} 1', '{of="peer a"} 1']);
    ofOther?.remove({ of: 'mesh' });
    expect(await seriesOf(registry)).toEqual(['{of="peer a"} 1']);
  });

  it('are created anew after a failed use, also with other labels', async () => {
    const { services, registry } = await lending();
    services.lend('source').services.metrics.counter(HITS);
    services.keepOnly(new Set());
    services
      .lend('source')
      .services.metrics.counter({ ...HITS, labels: ['of'] })
      .add(1, { of: 'a' });
    expect(await registry.metrics()).toContain('meshgate_plugin_source_hits_total{of="a"} 1');
  });

  it('reject a metric of another kind or with other labels under the same name', async () => {
    const { metrics } = (await lending()).services.lend('source').services;
    metrics.counter(HITS);
    expect(() => metrics.counter({ ...HITS, labels: ['of'] })).toThrow('found another');
  });

  it('takes facts of any kind: none hides a field of the log, an error keeps its stack, one that throws is named', () => {
    const services = new PluginServices({ baseDir: '/', process: 'single' });
    const lines: Record<string, unknown>[] = [];
    const logger = pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line) as never) });
    services.connect({ registry: new Registry(), logger, routes: { table: new RouteTable([]) } });
    const { log } = services.lend('mine').services;
    log.info('one', { level: 'fatal', msg: 'x', time: 1, plugin: 'other', error: new Error('broke') });
    log.info('two', {
      get bad(): string {
        throw new Error('broke');
      },
    });
    log.info(lie({ pino: 'puts facts first' }), lie('and the text last'));
    log.info(lie(undefined), lie(null));
    expect(lines).toMatchObject([
      { level: 30, msg: 'one', plugin: 'mine', 'plugin.level': 'fatal', error: { message: 'broke', type: 'Error' } },
      { msg: 'two', bad: 'cannot be read: Error: broke' },
      { msg: "{ pino: 'puts facts first' }", facts: 'and the text last' },
      { msg: 'undefined', facts: null },
    ]);
  });

  it('includes warnings in the log, ten different ones a minute at most', () => {
    const services = new PluginServices({ baseDir: '/', process: 'single' });
    const lines: string[] = [];
    const logger = pino({ base: null, timestamp: false }, { write: (line) => lines.push(line) });
    services.connect({ registry: new Registry(), logger, routes: { table: new RouteTable([]) } });
    const { reportWarning } = services.lend('mine').services;
    for (let count = 0; count < 1_000; count += 1) {
      reportWarning(`${count} are late`);
      if (count % 2 === 1) reportWarning(undefined);
    }
    reportWarning('all are late');
    expect(lines.filter((line) => line.includes('plugin warning: '))).toHaveLength(10);
    expect(lines.length).toBeLessThanOrEqual(20);
    expect(services.warnings).toEqual(['plugin mine: all are late']);
  });

  it('includes one warning, which is a sentence: null clears it, anything else is refused', async () => {
    const { services } = await lending();
    const { reportWarning } = services.lend('mine').services;
    reportWarning('the licence ends');
    for (const wrong of [5, {}, '', new Error('x')])
      expect(() => reportWarning(lie(wrong))).toThrow('reportWarning: expected a sentence or undefined, found ');
    expect(services.warnings).toEqual(['plugin mine: the licence ends']);
    reportWarning(lie(null));
    expect(services.warnings).toEqual([]);
  });
});

/** Plugins are JavaScript. */
function lie(value: unknown): never {
  return value as never;
}
