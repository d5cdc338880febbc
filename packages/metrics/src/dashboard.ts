import { LABELS, METRICS } from './metrics.ts';
import type { Label, MetricDefinition } from './metrics.ts';

/** A dashboard in Grafana's import format. */
export interface Dashboard extends Readonly<Record<string, unknown>> {
  /** Title in Grafana's list. */
  readonly title: string;
  /** One panel per metric, two per row. */
  readonly panels: readonly object[];
}

const COLUMNS = 24;
const PER_ROW = 2;
const HEIGHT = 8;

// Labels with thousands of values would be unreadable: only the largest are shown.
const MANY: ReadonlySet<Label> = new Set<Label>(['route']);
const SHOWN = 10;

/**
 * Generates a dashboard with a panel for every metric: rates of counters, quantiles of histograms, values of gauges.
 */
export function dashboardOf(metrics: Readonly<Record<string, MetricDefinition>> = METRICS): Dashboard {
  return {
    title: 'Meshgate',
    uid: 'meshgate',
    tags: ['meshgate'],
    schemaVersion: 39,
    refresh: '30s',
    time: { from: 'now-6h', to: 'now' },
    templating: { list: [datasource(), instance()] },
    panels: Object.values(metrics).map(panel),
  };
}

function datasource(): object {
  return { name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Data source' };
}

function instance(): object {
  const query = `label_values(${METRICS.build.name}, instance)`;
  return {
    name: 'instance',
    type: 'query',
    label: 'Instance',
    query,
    datasource: SOURCE,
    multi: true,
    includeAll: true,
    refresh: 2,
  };
}

const SOURCE = { type: 'prometheus', uid: '${datasource}' } as const;

function panel(metric: MetricDefinition, index: number): object {
  const width = COLUMNS / PER_ROW;
  return {
    id: index + 1,
    type: 'timeseries',
    title: metric.help,
    description: [metric.name, ...metric.labels.map((label) => `${label}: ${LABELS[label]}`)].join('\n'),
    datasource: SOURCE,
    gridPos: { x: (index % PER_ROW) * width, y: Math.floor(index / PER_ROW) * HEIGHT, w: width, h: HEIGHT },
    fieldConfig: { defaults: { unit: unitOf(metric), min: 0 }, overrides: [] },
    targets: queriesOf(metric).map(({ expr, legend }, number) => ({
      refId: REF_IDS[number],
      datasource: SOURCE,
      expr,
      legendFormat: legend,
    })),
  };
}

const REF_IDS = ['A', 'B'];

interface PanelQuery {
  readonly expr: string;
  readonly legend: string;
}

/** Returns the queries of a panel. Pure. */
export function queriesOf({ type, name, labels }: MetricDefinition): readonly PanelQuery[] {
  const legend = labels.length === 0 ? '{{instance}}' : labels.map((label) => `{{${label}}}`).join(' ');
  const by = labels.length === 0 ? 'instance' : labels.join(', ');
  const chosen = '{instance=~"$instance"}';
  const isMany = labels.some((label) => MANY.has(label));
  const limited = (expr: string): string => (isMany ? `topk(${SHOWN}, ${expr})` : expr);
  if (type === 'histogram')
    return [0.5, 0.99].map((quantile) => ({
      expr: limited(
        `histogram_quantile(${quantile}, sum by (${[...labels, 'le'].join(', ')}) (rate(${name}_bucket${chosen}[$__rate_interval])))`,
      ),
      legend: `p${quantile * 100} ${labels.length === 0 ? '' : legend}`.trim(),
    }));
  const series = `${name}${chosen}`;
  return [
    { expr: limited(`sum by (${by}) (${type === 'counter' ? `rate(${series}[$__rate_interval])` : series})`), legend },
  ];
}

function unitOf({ type, name }: MetricDefinition): string {
  if (type === 'histogram') return 's';
  if (name.endsWith('_timestamp_seconds')) return 'dateTimeAsIso';
  if (name.includes('_bytes_')) return 'Bps';
  if (name.endsWith('_bytes')) return 'bytes';
  return type === 'counter' ? 'ops' : 'short';
}
