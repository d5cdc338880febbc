import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RouteSource } from '@meshgate/core';
import { describeRouteSource } from '@meshgate/testkit';
import type { SourceUnderTest } from '@meshgate/testkit';
import { fileSource } from '../src/index.ts';

describeRouteSource('a route file', { create: () => under((folder) => join(folder, 'routes.yaml')) });
describeRouteSource('a folder of route files', { create: () => under((folder) => folder) });

/** A source for the path that `at` returns for a new folder, in which one file is rewritten at each change. */
async function under(at: (folder: string) => string): Promise<SourceUnderTest<RouteSource>> {
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-contract-'));
  let port = 8_000;
  const change = (): Promise<void> => writeFile(join(folder, 'routes.yaml'), routes((port += 1)));
  await change();
  return {
    source: fileSource({ path: at(folder), pollMs: 0 }),
    change,
    dispose: () => rm(folder, { recursive: true }),
  };
}

function routes(port: number): string {
  return `routes: [{ serverNames: [api.example.com], backends: [{ address: 10.0.0.1, port: ${port} }] }]\n`;
}
