import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ALERTS, LABELS, METRICS } from '../src/index.ts';

const metrics = Object.values(METRICS);
const list = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(', ');
const rows = metrics.map(({ name, type, labels, help }) => [`\`${name}\``, type, list(labels), help]);

describe('the documentation matches the code', () => {
  it('README.md has every metric with its type and labels', () => {
    const short = rows.map(([name = '', type = '', labels = '']) => [name, type, labels]);
    expect(tables('../README.md')).toEqual([[['metric', 'type', 'labels'], ...short]]);
  });

  it('docs/metrics.md has every metric, every label with its bound, and every bucket', () => {
    const labels = Object.entries(LABELS).map(([label, bound]) => [`\`${label}\``, bound]);
    const buckets = metrics.flatMap((metric) =>
      metric.type === 'histogram' ? [[`\`${metric.name}\``, metric.buckets.join(', ')]] : [],
    );
    expect(tables('../../../docs/metrics.md').slice(0, 3)).toEqual([
      [['metric', 'type', 'labels', 'meaning'], ...rows],
      [['label', 'bound'], ...labels],
      [['histogram', 'upper bounds in seconds'], ...buckets],
    ]);
  });

  it('no query of docs/metrics.md, and no alert, uses an unknown metric', () => {
    const queries =
      read('../../../docs/metrics.md')
        .match(/```(?:promql|yaml)\n[^]*?```/g)
        ?.join('\n') ?? '';
    const known = metrics.flatMap(({ name, type }) =>
      type === 'histogram' ? ['_bucket', '_sum', '_count'].map((part) => name + part) : [name],
    );
    // Metrics of the gateway itself, in docs/operate/logs.md.
    known.push('meshgate_log_lines_dropped_total');
    // Metrics of the Consul plugin, in docs/consul.md.
    known.push('meshgate_plugin_consul_agent_certificate_expiry_timestamp_seconds');
    known.push('meshgate_plugin_consul_root_expiry_timestamp_seconds');
    const queried = new Set([queries, ...ALERTS.map(({ expr }) => expr)].join('\n').match(/meshgate_\w+/g));
    expect([...queried].filter((name) => !known.includes(name))).toEqual([]);
    expect(queried.size).toBeGreaterThan(5);
  });
});

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), 'utf8');
}

/** The tables of a Markdown file, each as rows of cells, without the separator line. */
function tables(path: string): string[][][] {
  const blocks = read(path).match(/(?:^\|.*\|\n)+/gm) ?? [];
  return blocks.map((block) =>
    block
      .trimEnd()
      .split('\n')
      .filter((_line, index) => index !== 1)
      .map((line) =>
        line
          .slice(1, -1)
          .split('|')
          .map((cell) => cell.trim()),
      ),
  );
}
