// Alert rules, their tests and a dashboard, generated from the definitions of the metrics: packages/metrics/monitoring.
//
//   node scripts/monitoring.mjs            exit status 1 when a file differs from the definitions
//   node scripts/monitoring.mjs --update   writes the files
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ALERTS, dashboardOf, rulesFile, rulesTestFile } from '../packages/metrics/dist/index.js';
import { ROOT } from './workspace.mjs';

const FOLDER = join(ROOT, 'packages/metrics/monitoring');
const RULES = 'meshgate.rules.yml';
const FILES = {
  [RULES]: rulesFile(ALERTS),
  'meshgate.rules.test.yml': rulesTestFile(ALERTS, RULES),
  'grafana-dashboard.json': `${JSON.stringify(dashboardOf(), null, 2)}\n`,
};

for (const [name, content] of Object.entries(FILES)) {
  const file = join(FOLDER, name);
  if (existsSync(file) && readFileSync(file, 'utf8') === content) continue;
  if (process.argv.includes('--update')) {
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(file, content);
    console.log(`${file}: written`);
  } else {
    console.error(`${file}: expected what the metrics' definitions say, found another: npm run monitoring:update`);
    process.exitCode = 1;
  }
}
