import { tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { gatewayFolder, spawnGateway, startGateway } from './daemon.ts';

const lingering = { conduct: { kind: 'linger' } } as const;

describe('a drain', () => {
  it('lets connections finish, accepts no new ones, and exits with status 0', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    gateway.signal('SIGTERM');
    await gateway.logged('listener closed');
    await expect(tlsClient(gateway.address, 'api.example.com')).rejects.toThrow('ECONNREFUSED');
    expect(await client.echo('not cut')).toBe('not cut');
    client.end();
    expect(await gateway.ended).toBe(0);
    expect(await gateway.logged('drain finished')).toMatchObject({ finished: 1, cut: 0 });
  });

  it('is visible: not ready with the reason, and the numbers of remaining and finished connections', async () => {
    await using api = await tlsBackend('api.example.com', lingering);
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using first = await tlsClient(gateway.address, 'api.example.com');
    await using second = await tlsClient(gateway.address, 'api.example.com');
    gateway.signal('SIGTERM');
    await gateway.logged('listener closed');
    first.reset();
    await gateway.line(({ durationMs }) => durationMs !== undefined);
    expect((await gateway.query('/drain')).json).toMatchObject({
      state: 'finishing',
      remaining: 1,
      finished: 1,
      cut: 0,
    });
    expect(await gateway.query('/ready')).toMatchObject({ status: 503, json: { ready: false } });
    expect((await gateway.query('/live')).status).toBe(200);
    second.reset();
    expect(await gateway.ended).toBe(0);
  });

  it('starts with POST /drain as with SIGTERM, responds with the progress, and ends the process', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    expect(await gateway.query('/drain', { method: 'POST' })).toMatchObject({ status: 202, json: { remaining: 1 } });
    client.end();
    expect(await gateway.ended).toBe(0);
  });

  it('responds to POST /drain even if there is nothing to wait for', async () => {
    await using files = await gatewayFolder([]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    expect(await gateway.query('/drain', { method: 'POST' })).toMatchObject({ status: 202, json: { remaining: 0 } });
    expect(await gateway.ended).toBe(0);
  });

  it('ends at once at the second signal', async () => {
    await using api = await tlsBackend('api.example.com', lingering);
    await using files = await gatewayFolder([api], { drain: { delay: '1h', grace: '1h', spread: '1h' } });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    gateway.signal('SIGTERM');
    await gateway.logged('drain started');
    gateway.signal('SIGTERM');
    expect(await gateway.ended).toBe(1);
    expect((await client.closed).kind).not.toBe('destroyed');
    expect(await gateway.logged('drain finished')).toMatchObject({ finished: 0, cut: 1 });
  });

  it('does not wait for a plugin that does not stop after the second signal', async () => {
    await using files = await gatewayFolder([], { plugins: ['./stuck.mjs'] });
    await files.write('stuck.mjs', STUCK_SERVICE);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    gateway.signal('SIGTERM');
    await gateway.logged('printed by a plugin: stopping');
    gateway.signal('SIGTERM');
    expect(await gateway.ended).toBe(1);
    expect(gateway.lines.at(-1)).toMatchObject({ msg: 'shutdown incomplete: a service is still stopping' });
  });

  it('ends even if the reader of the log is gone', async () => {
    await using files = await gatewayFolder([]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    gateway.stopReading();
    expect((await gateway.query('/drain', { method: 'POST' })).status).toBe(202);
    expect(await gateway.ended).toBe(0);
  });

  it('has started when the admin API responds', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    const { status, json } = await gateway.query('/drain', { method: 'POST' });
    expect({ status, json }).toMatchObject({
      status: 202,
      json: { state: expect.stringMatching(/^(announcing|finishing)$/), remaining: 1 },
    });
    await client[Symbol.asyncDispose]();
    expect(await gateway.ended).toBe(0);
  });

  it('starts even while the gateway waits for a source, and exits with status 0', async () => {
    await using files = await gatewayFolder([], { sources: [{ use: './silent.mjs' }] });
    await files.write('silent.mjs', SILENT_SOURCE);
    await using gateway = spawnGateway(`${files.path}/meshgate.yaml`);
    await gateway.logged('printed by a plugin: waiting');
    gateway.signal('SIGTERM');
    expect(await gateway.ended).toBe(0);
  });
});

const STUCK_SERVICE = `
export default { name: 'stuck', install: (host) => host.addService({
  name: 'stuck',
  start: () => Promise.resolve(),
  stop: () => { console.log('stopping'); return new Promise(() => {}); },
}) };`;

const SILENT_SOURCE = `
export default { name: 'silent', install: (host) => host.addSource({
  name: 'silent',
  async *watch(signal) {
    console.log('waiting');
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  },
}) };`;
