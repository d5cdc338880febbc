import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const BUDGET = fileURLToPath(new URL('../micro/budget.mjs', import.meta.url));

/** The budget of docs/adr/0023, with room for differences between versions of Node. */
const MOST = { promises: 18, objects: 140, bytes: 10_500 };

it('a connection stays within its budget of promises, objects and bytes', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [BUDGET]);
  const counted = JSON.parse(stdout);
  for (const [what, most] of Object.entries(MOST)) expect(counted[what], what).toBeLessThanOrEqual(most);
});
