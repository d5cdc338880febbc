import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import * as testkit from '../src/index.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

function page(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

const PAGES = ['README', 'filter', 'sniffer', 'resolver', 'layer', 'observer', 'service', 'transport', 'testing'];

const DOCUMENTS = [
  ...['core', 'metrics', 'testkit'].map((name) => `packages/${name}/README.md`),
  ...PAGES.map((name) => `docs/plugins/${name}.md`),
];

describe.each(DOCUMENTS)('%s', (path) => {
  const examples = Array.from(page(path).matchAll(/^```ts (\S+)\n([^]*?)^```$/gm), ([, file = '', text = '']) => ({
    file,
    text,
  }));

  it.each(examples)('shows $file as it is', ({ file, text }) => {
    expect(page(file)).toContain(text);
  });

  it('links to existing pages', () => {
    const links = Array.from(page(path).matchAll(/\]\((?!https?:)([^)#]+)/g), ([, link = '']) => link);
    expect(links.filter((link) => !existsSync(join(ROOT, path, '..', link)))).toEqual([]);
  });
});

it('the README names everything that the package exports', () => {
  const readme = page('packages/testkit/README.md');
  expect(Object.keys(testkit).filter((name) => !readme.includes(`\`${name}`))).toEqual([]);
});
