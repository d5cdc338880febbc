import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { readMesh } from '../src/index.ts';
import { meshFolder, PRIMARY } from './mesh-folder.ts';

const PAGE = readFileSync(new URL('../../../docs/peering.md', import.meta.url), 'utf8');

/** The HCL blocks that are config entries, without the indentation of the list that contains them. */
function entries(): readonly string[] {
  const found = [...PAGE.matchAll(/^( *)```hcl\n([\s\S]*?)^ *```$/gm)];
  return found.map(([, indent = '', text = '']) => text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''));
}

it('the entries of docs/peering.md are valid as they are, and of the documented kinds', async () => {
  const contents = entries();
  expect(contents).toHaveLength(3);
  const files = Object.fromEntries(contents.map((text, index) => [`primary/${index}.hcl`, text]));
  const mesh = await readMesh(await meshFolder(files), PRIMARY);
  expect(mesh.entries.intentions).toMatchObject([
    { source: 'web', sourcePeer: 'beta', destination: 'db', action: 'allow' },
  ]);
});
