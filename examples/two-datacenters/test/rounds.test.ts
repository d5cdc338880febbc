import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { expect, it, onTestFinished } from 'vitest';
import { demonstrate } from '../src/demo.ts';
import { Progress } from '../src/progress.ts';
import { painter } from '../src/report.ts';
import { eventually } from '../src/eventually.ts';

it('Enter sends the requests again, and shows a mode that was changed meanwhile', async () => {
  const keyboard = new PassThrough();
  const leave = new AbortController();
  let logged = '';
  let json = '';
  const paint = painter(false, undefined);
  const ended = demonstrate(
    { form: 'mesh-files', once: false, json: true, freePorts: true, oneAddress: false },
    {
      progress: new Progress({ write: (text: string) => (logged += text) }, paint),
      paint,
      stdout: { write: (text: string) => (json += text) },
      keyboard,
      consul: undefined,
      signal: leave.signal,
      onExit: (clean) => void process.once('exit', clean),
    },
  );
  onTestFinished(async () => {
    leave.abort();
    await ended;
  });
  const until = (what: string, holds: () => boolean): Promise<boolean> =>
    eventually(what, DEMO_MS, leave.signal, () =>
      Promise.resolve(holds() ? { done: true } : { missing: logged.slice(-1_000) }),
    );
  await until('the first round', () => logged.includes('Enter sends the requests again'));
  expect(logged).toMatch(/^reports → api +local +proxy defaults +both gateways +ok/m);

  const { folder } = JSON.parse(json) as { readonly folder: string };
  const file = join(folder, 'mesh', 'primary', 'proxy-defaults.hcl');
  await writeFile(file, (await readFile(file, 'utf8')).replace('"local"', '"none"'));
  // Each Enter is a round; the change is effective from one of them on.
  const isNew = (): boolean => /^reports → api +none +proxy defaults +direct, no gateway +ok/m.test(logged);
  for (let rounds = 2; !isNew(); rounds += 1) {
    keyboard.write('\n');
    await until('one more round', () => (logged.match(/All 6 as expected/g)?.length ?? 0) >= rounds);
  }
  leave.abort();
  expect(await ended).toBe(true);
}, 120_000);

const DEMO_MS = 60_000;
