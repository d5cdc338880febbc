import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cruise } from 'dependency-cruiser';
import type { ICruiseResult } from 'dependency-cruiser';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import config from '../.dependency-cruiser.mjs';

/** For each rule a file that violates it, and its imports. */
const OFFENDERS: Readonly<Record<string, readonly [file: string, imports: string]>> = {
  'no-cycle': ['packages/core/src/chicken.ts', './egg.ts'],
  'core-imports-nothing': ['packages/core/src/parse.ts', 'yaml'],
  'plugins-do-not-know-each-other': ['packages/sni/src/reload.ts', '../../file-source/src/index.ts'],
  'mesh-is-for-those-who-speak-consul': ['packages/metrics/src/services.ts', '../../mesh/src/index.ts'],
  'linux-is-for-its-transports': ['packages/metrics/src/native.ts', '../../linux/src/index.ts'],
  'testkit-is-for-tests': ['packages/sni/src/sample.ts', '../../testkit/src/index.ts'],
  'testkit-imports-core-only': ['packages/testkit/src/hello.ts', '../../sni/src/index.ts'],
  'apps-are-the-top': ['packages/file-source/src/command.ts', '../../../apps/gateway/src/main.ts'],
  'no-deep-import': ['apps/gateway/src/inside.ts', '../../../packages/core/src/secret.ts'],
  'container-in-the-app': ['packages/metrics/src/container.ts', 'tsyringe'],
  'prom-client-in-metrics': ['packages/sni/src/count.ts', 'prom-client'],
  'koffi-in-linux': ['packages/file-source/src/native.ts', 'koffi'],
  'pino-in-the-app': ['packages/metrics/src/log.ts', 'pino'],
  'files-at-the-edge': ['packages/sni/src/disk.ts', 'node:fs/promises'],
  'no-drawer': ['packages/sni/src/utils/odds.ts', './ends.ts'],
  declared: ['packages/sni/src/borrowed.ts', 'yaml'],
  resolvable: ['packages/sni/src/nowhere.ts', './nothing.ts'],
};

/** The imports of the violating files, and files that violate no rule. */
const BYSTANDERS: readonly (readonly [file: string, text: string])[] = [
  ['packages/core/src/egg.ts', "import type {} from './chicken.ts';\n"],
  ['packages/core/src/secret.ts', 'export {};\n'],
  ['packages/core/src/index.ts', "import 'node:net';\n"],
  ['packages/documents/src/index.ts', "import 'node:fs';\nimport '../../core/src/index.ts';\n"],
  ['packages/file-source/src/index.ts', "import '../../documents/src/index.ts';\n"],
  [
    'packages/mesh-files/src/index.ts',
    "import 'node:fs';\nimport '../../documents/src/index.ts';\nimport '../../mesh/src/index.ts';\n",
  ],
  ['packages/mesh/src/index.ts', "import '../../core/src/index.ts';\n"],
  ['packages/linux/src/index.ts', "import 'node:fs';\nimport '../../core/src/index.ts';\n"],
  ['packages/metrics/src/index.ts', "import 'prom-client';\n"],
  ['packages/metrics/package.json', '{ "name": "metrics", "peerDependencies": { "prom-client": "15" } }'],
  ['packages/sni/src/index.ts', 'export {};\n'],
  ['packages/sni/src/utils/ends.ts', 'export {};\n'],
  ['packages/sni/test/sni.test.ts', "import '../../testkit/src/index.ts';\nimport '../src/index.ts';\n"],
  ['packages/testkit/src/index.ts', "import '../../core/src/index.ts';\n"],
  ['apps/gateway/package.json', '{ "name": "gateway", "dependencies": { "tsyringe": "4", "pino": "10" } }'],
  [
    'apps/gateway/src/main.ts',
    "import 'tsyringe';\nimport 'pino';\nimport '../../../packages/metrics/src/index.ts';\n",
  ],
  ...['yaml', 'tsyringe', 'prom-client', 'koffi', 'pino'].flatMap((name) => [
    [`node_modules/${name}/package.json`, JSON.stringify({ name, version: '1.0.0', main: 'index.js' })] as const,
    [`node_modules/${name}/index.js`, ''] as const,
  ]),
];

describe('the dependency rules', () => {
  const folder = mkdtempSync(join(tmpdir(), 'meshgate-rules-'));
  let violations: readonly { readonly rule: string; readonly file: string }[] = [];

  beforeAll(async () => {
    for (const [file, text] of BYSTANDERS) write(file, text);
    for (const [file, imports] of Object.values(OFFENDERS)) write(file, `import ${JSON.stringify(imports)};\n`);
    const { output } = await cruise(['packages', 'apps'], {
      ...config.options,
      baseDir: folder,
      ruleSet: config,
      validate: true,
    });
    violations = (output as ICruiseResult).summary.violations.map(({ rule, from }) => ({
      rule: rule.name,
      file: from,
    }));
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  it('have a violation each', () => {
    const rules = (config.forbidden ?? []).map(({ name }) => name);
    expect(new Set(rules)).toEqual(new Set(Object.keys(OFFENDERS)));
  });

  it.each(Object.entries(OFFENDERS))('%s detects a violation', (rule, [file]) => {
    expect(violations).toContainEqual({ rule, file });
  });

  it('accept everything else', () => {
    const files = BYSTANDERS.map(([file]) => file).filter(
      (file) => !file.includes('egg.ts') && !file.includes('/utils/'),
    );
    expect(violations.filter(({ file }) => files.includes(file))).toEqual([]);
  });

  function write(file: string, text: string): void {
    const path = join(folder, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
});
