import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { needs } from '@meshgate/testkit';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import {
  ALERTS,
  carrierVitals,
  dashboardOf,
  gatewayVitals,
  METRICS,
  prometheusObserver,
  rulesFile,
  rulesTestFile,
} from '../src/index.ts';
import { VITALS } from './vitals.ts';
import { queriesOf } from '../src/dashboard.ts';

const FOLDER = fileURLToPath(new URL('../monitoring/', import.meta.url));
const RULES = 'meshgate.rules.yml';

function promtool(args: readonly string[], input = ''): { readonly status: number | null; readonly logged: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: FOLDER, input, encoding: 'utf8' });
  return { status, logged: `${stdout}${stderr}` };
}

const hasPromtool = spawnSync('promtool', ['--version']).status === 0;

describe('rules and dashboard', () => {
  it('match the definitions: npm run monitoring:update', () => {
    expect(readFileSync(`${FOLDER}${RULES}`, 'utf8')).toBe(rulesFile(ALERTS));
    expect(readFileSync(`${FOLDER}meshgate.rules.test.yml`, 'utf8')).toBe(rulesTestFile(ALERTS, RULES));
    expect(JSON.parse(readFileSync(`${FOLDER}grafana-dashboard.json`, 'utf8'))).toEqual(dashboardOf());
  });

  it('have a panel for every metric', () => {
    expect(dashboardOf().panels).toHaveLength(Object.keys(METRICS).length);
  });

  it('use rates for counters, quantiles for histograms, and only the ten largest routes', () => {
    expect(queriesOf(METRICS.accepted)).toEqual([
      {
        expr: 'sum by (listener) (rate(meshgate_connections_accepted_total{instance=~"$instance"}[$__rate_interval]))',
        legend: '{{listener}}',
      },
    ]);
    expect(queriesOf(METRICS.ejected)).toEqual([
      { expr: 'sum by (instance) (meshgate_backends_ejected{instance=~"$instance"})', legend: '{{instance}}' },
    ]);
    const [median] = queriesOf(METRICS.connectSeconds);
    expect(median?.expr).toMatch(/^topk\(10, histogram_quantile\(0\.5, sum by \(route, le\) \(rate\(.*_bucket/);
  });

  it('docs/metrics.md has every alert and its question', () => {
    const page = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
    for (const { alert, query } of ALERTS) {
      const row = page.split('\n').find((line) => line.startsWith(`| \`${alert}\``));
      expect(row).toContain(query);
    }
  });
});

needs('promtool', hasPromtool || 'no promtool on PATH (Debian: prometheus)')('promtool', () => {
  it('finds nothing wrong with the rules', () => {
    expect(promtool(['check', 'rules', RULES])).toMatchObject({ status: 0 });
  });

  it('fires every alert on data made for it', () => {
    const { status, logged } = promtool(['test', 'rules', 'meshgate.rules.test.yml']);
    expect(logged).toMatch(/SUCCESS/);
    expect(status).toBe(0);
  });

  it('finds nothing wrong with the metrics', async () => {
    const registry = new Registry();
    prometheusObserver({ registry });
    gatewayVitals(registry, VITALS);
    carrierVitals(registry, { pendingHellos: () => 1, pipes: () => ({ used: 1, limit: 256 }) });
    expect(promtool(['check', 'metrics'], await registry.metrics())).toEqual({ status: 0, logged: '' });
  });
});
