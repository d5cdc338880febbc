import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { ConfigProblems, formatProblem } from '@meshgate/core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { fileSource, parseRouteFile, readRoutes } from '../src/index.ts';
import type { RouteFile } from '../src/routes/route-file.ts';

const ROUTES = 3_000;

describe('a large file', () => {
  it('gives the same routes as a small one would', async () => {
    const { file, text } = await largeFile();
    expect((await readRoutes(file)).routes).toEqual(parseRouteFile(text, file).routes);
  });

  it('has the same problems, at the same positions', async () => {
    const { file, text } = await largeFile('  - { serverNames: [ s0.example ], backend: [] }\n');
    const failure = await readRoutes(file).catch((reason: unknown) => reason);
    expect(failure).toBeInstanceOf(ConfigProblems);
    expect((failure as ConfigProblems).message.split('\n')).toEqual(
      parseRouteFile(text, file).problems.map(formatProblem),
    );
  });

  it('does not block the event loop while it is read', async () => {
    const { file } = await largeFile();
    const reading = readRoutes(file).then(() => 'read');
    let turns = 0;
    while ((await Promise.race([reading, setImmediate('turn')])) === 'turn') turns += 1;
    // On this thread only reading would leave turns to others, not parsing.
    expect(turns).toBeGreaterThan(100);
  });

  it('passes its routes on in small slices, one a turn', async () => {
    const { file } = await largeFile();
    const started = once(process, 'worker');
    const reading = readRoutes(file).then(() => 'read');
    const [worker] = (await started) as [Worker];
    const shares: { readonly routes: number; readonly turn: number }[] = [];
    let turn = 0;
    worker.on('message', ({ routes }: RouteFile) => shares.push({ routes: routes.length, turn }));
    while ((await Promise.race([reading, setImmediate('turn')])) === 'turn') turn += 1;
    expect(shares.reduce((sum, { routes }) => sum + routes, 0)).toBe(ROUTES);
    for (const { routes } of shares) expect(routes).toBeLessThanOrEqual(200);
    expect(new Set(shares.map((share) => share.turn)).size).toBe(shares.length);
  });

  it('is abandoned when its source is aborted, with its thread', async () => {
    const { file } = await largeFile();
    const controller = new AbortController();
    const started = once(process, 'worker');
    const first = fileSource({ path: file }).watch(controller.signal)[Symbol.asyncIterator]().next();
    const [worker] = (await started) as [Worker];
    const ended = once(worker, 'exit');
    controller.abort();
    expect(await first).toEqual({ done: true, value: undefined });
    await ended;
  });
});

async function largeFile(more = '') {
  const folder = await mkdtemp(join(tmpdir(), 'file-source-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'routes.yaml');
  const one = (index: number): string =>
    `  - { serverNames: [ s${index}.example ], backends: [ { address: b, port: 1 } ] }\n`;
  const text = `routes:\n${Array.from({ length: ROUTES }, (_, index) => one(index)).join('')}${more}`;
  await writeFile(file, text);
  return { file, text };
}
