import type { AlertDefinition } from './alerts.ts';

// When the examples must fire, in promtool's notation.
const FIRES_AFTER = '20m';

/** Returns a rule file for Prometheus (`rule_files: [meshgate.rules.yml]`). Strings are JSON, which is valid YAML. */
export function rulesFile(alerts: readonly AlertDefinition[]): string {
  return yaml([
    '# Generated from packages/metrics/src/alerts.ts: npm run monitoring:update.',
    'groups:',
    '  - name: meshgate',
    '    rules:',
    ...alerts.flatMap((alert) => [
      `      # ${alert.query}`,
      `      - alert: ${alert.alert}`,
      `        expr: ${text(alert.expr)}`,
      ...(alert.for === undefined ? [] : [`        for: ${alert.for}`]),
      '        labels:',
      `          severity: ${alert.severity}`,
      '        annotations:',
      `          summary: ${text(alert.summary)}`,
      `          description: ${text(alert.description)}`,
    ]),
  ]);
}

/** Returns a file for `promtool test rules` with one test case per rule, in which the rule fires. */
export function rulesTestFile(alerts: readonly AlertDefinition[], rules: string): string {
  return yaml([
    '# Generated from packages/metrics/src/alerts.ts: npm run monitoring:update.',
    `rule_files: [${rules}]`,
    'evaluation_interval: 1m',
    'tests:',
    ...alerts.flatMap(({ alert, example }) => [
      `  - name: ${alert}`,
      '    interval: 1m',
      '    input_series:',
      ...Object.entries(example).flatMap(([series, values]) => [
        `      - series: ${text(series)}`,
        `        values: ${text(values)}`,
      ]),
      '    promql_expr_test:',
      `      - expr: ${text(`count(ALERTS{alertname="${alert}", alertstate="firing"})`)}`,
      `        eval_time: ${FIRES_AFTER}`,
      '        exp_samples: [{ value: 1 }]',
    ]),
  ]);
}

function text(value: string): string {
  return JSON.stringify(value);
}

function yaml(lines: readonly string[]): string {
  return `${lines.join('\n')}\n`;
}
