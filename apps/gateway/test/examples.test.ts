import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { folder, meshgate, startGateway, TEST_CONFIG } from './daemon.ts';

const EXAMPLES = fileURLToPath(new URL('../../../examples/', import.meta.url));

describe('examples/custom-source', () => {
  it('routes by the response of an HTTP service', async () => {
    await using api = await tlsBackend('api.example.com');
    const http = createServer((_request, response) => {
      response.end(JSON.stringify({ 'api.example.com': [`127.0.0.1:${api.address.port}`] }));
    }).listen(0, '127.0.0.1');
    await once(http, 'listening');
    const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/`;
    const source = { use: `${EXAMPLES}custom-source/dist/http-source.js`, url, intervalMs: 1_000 };
    await using files = await folder({ 'meshgate.yaml': { ...TEST_CONFIG, sources: [source] } });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com', { ca: api.ca });
    expect(await client.echo('by the example')).toBe('by the example');
    http.closeAllConnections();
    http.close();
  });
});

describe.each(['quickstart', 'custom-source'])('the configuration of examples/%s', (example) => {
  it('has no problems', async () => {
    const { status, stderr } = await meshgate([
      'gateway',
      '--check',
      '--config',
      `${EXAMPLES}${example}/meshgate.yaml`,
    ]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});

describe('npm start', () => {
  it('knows every port in the files of the quick start', async () => {
    const script = await readFile(`${EXAMPLES}../scripts/start.mjs`, 'utf8');
    const known = /const PORTS = \{(.*)\}/.exec(script)?.[1] ?? '';
    const contents = await Promise.all(
      ['meshgate.yaml', 'routes.yaml'].map((name) => readFile(`${EXAMPLES}quickstart/${name}`, 'utf8')),
    );
    const ports = contents.flatMap((text) => Array.from(text.matchAll(/port: (\d+)/g), ([, port]) => Number(port)));
    expect(Array.from(known.matchAll(/: ([\d_]+)/g), ([, port]) => Number(port?.replace('_', '')))).toEqual(ports);
  });
});
