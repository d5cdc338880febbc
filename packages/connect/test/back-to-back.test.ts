import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { certificateAuthority, peerListener, rawClient, tcpBackend, unixAddress } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { CALLER } from '../src/index.ts';
import { credentialsOf, leafOf, targetOf, upstreamOf, uriOf, viewOf } from './mesh.ts';
import { startSidecar } from './sidecar.ts';
import type { TestSidecar } from './sidecar.ts';

const root = certificateAuthority('root');
const web = credentialsOf(leafOf(root, 'web'), root);
const db = credentialsOf(leafOf(root, 'db'), root);

/** The sidecar of `web`, with `db` as its upstream. */
async function webSidecar(dbSidecar: TestSidecar): Promise<TestSidecar> {
  const at = [await dbSidecar.address()];
  return startSidecar({
    credentials: web,
    view: viewOf({ service: 'web', upstreams: [upstreamOf('db', [targetOf({ service: 'db', at })])] }),
  });
}

describe('two sidecars back to back', () => {
  it('carry data between two applications, complete and counted in plain text bytes', async () => {
    await using application = await tcpBackend('db');
    await using two = await startSidecar({
      credentials: db,
      view: viewOf({ service: 'db', application: application.address }),
    });
    await using one = await webSidecar(two);
    await using client = await rawClient(await one.address('upstream:db'));
    const sent = randomBytes(3_000_000);
    const sending = client.send(sent);
    expect((await client.receive(sent.length)).equals(sent)).toBe(true);
    await sending;
    client.end();
    const ends = await Promise.all([one, two].map(({ events }) => events.until('connection.closed')));
    for (const { closed } of ends) {
      expect(closed.error).toBeUndefined();
      expect(closed).toMatchObject({ attempts: 1, transfer: { bytesUp: sent.length, bytesDown: sent.length } });
    }
  });

  it('trust a configured root even if another CA has issued it, as Go and Consul do', async () => {
    const issuing = certificateAuthority('offline').intermediate('issuing');
    const [ofWeb, ofDb] = ['web', 'db'].map((name) => credentialsOf(leafOf(issuing, name), issuing));
    await using application = await tcpBackend('db');
    const view = viewOf({ service: 'db', application: application.address });
    await using two = await startSidecar({ credentials: ofDb ?? db, view });
    const at = [await two.address()];
    const upstreams = [upstreamOf('db', [targetOf({ service: 'db', at })])];
    await using one = await startSidecar({ credentials: ofWeb ?? web, view: viewOf({ service: 'web', upstreams }) });
    await using client = await rawClient(await one.address('upstream:db'));
    await client.send('hello');
    expect((await client.receive(5)).toString()).toBe('hello');
  });

  it("report the peer's identity on each side", async () => {
    await using application = await tcpBackend('db');
    await using two = await startSidecar({
      credentials: db,
      view: viewOf({ service: 'db', application: application.address }),
    });
    await using one = await webSidecar(two);
    await using client = await rawClient(await one.address('upstream:db'));
    client.end();
    const dialled = await one.events.until('connection.closed');
    expect(dialled.closed.upstream?.route.origin).toMatchObject({
      path: 'direct',
      identity: uriOf('db'),
      serverName: expect.stringMatching(/^db\.default\.dc1\.internal\./),
    });
    const accepted = await two.events.until('connection.closed');
    expect(accepted.closed.hello).toMatchObject({
      serverName: expect.stringMatching(/^db\.default\.dc1\.internal\./),
    });
    expect(CALLER.of(accepted.closed.connection)).toMatchObject({ uri: uriOf('web') });
    expect(accepted.closed.route?.name).toBe('public');
  });

  it('carry protocols in which the server sends first', async () => {
    await using application = await peerListener();
    await using two = await startSidecar({
      credentials: db,
      view: viewOf({ service: 'db', application: application.address }),
    });
    await using one = await webSidecar(two);
    await using client = await rawClient(await one.address('upstream:db'));
    const server = await application.accept();
    await server.send('220 ready');
    expect((await client.receive(9)).toString()).toBe('220 ready');
  });

  it('pass half-close on, either way', async () => {
    await using application = await tcpBackend('db', { conduct: { kind: 'answer-last' } });
    await using two = await startSidecar({
      credentials: db,
      view: viewOf({ service: 'db', application: application.address }),
    });
    await using one = await webSidecar(two);
    await using client = await rawClient(await one.address('upstream:db'), { halfOpen: true });
    await client.send('all of it');
    client.end();
    expect((await client.receiveAll()).toString()).toBe('all of it');
    expect(await one.endings('upstream:db')).toEqual(['OK']);
    expect(await two.endings('public')).toEqual(['OK']);
  });

  it('pass a reset of the application on', async () => {
    await using application = await tcpBackend('db', { conduct: { kind: 'reset', afterBytes: 4 } });
    await using two = await startSidecar({
      credentials: db,
      view: viewOf({ service: 'db', application: application.address }),
    });
    await using one = await webSidecar(two);
    await using client = await rawClient(await one.address('upstream:db'));
    await client.send('ping');
    expect(await client.closed).toMatchObject({ kind: 'lost' });
    expect(await two.endings('public')).toEqual(['UPSTREAM_RESET']);
    expect(await one.endings('upstream:db')).toEqual(['UPSTREAM_RESET']);
  });

  it('pass a reset of the client on', async () => {
    await using application = await peerListener();
    await using two = await startSidecar({
      credentials: db,
      view: viewOf({ service: 'db', application: application.address }),
    });
    await using one = await webSidecar(two);
    await using client = await rawClient(await one.address('upstream:db'));
    const server = await application.accept();
    client.reset();
    expect(await server.closed).toMatchObject({ kind: 'lost' });
    expect(await one.endings('upstream:db')).toEqual(['DOWNSTREAM_RESET']);
    expect(await two.endings('public')).toEqual(['DOWNSTREAM_RESET']);
  });

  it('connect to an application, and accept connections, on unix sockets', async () => {
    await using at = await unixAddress();
    await using bind = await unixAddress();
    await using application = await tcpBackend('db', { at: at.address });
    await using two = await startSidecar({
      credentials: db,
      view: viewOf({ service: 'db', application: application.address }),
    });
    const targets = [targetOf({ service: 'db', at: [await two.address()] })] as const;
    const view = viewOf({ service: 'web', upstreams: [upstreamOf('db', targets, bind.address)] });
    await using one = await startSidecar({ credentials: web, view });
    await using client = await rawClient(await one.address('upstream:db'));
    await client.send('through sockets');
    expect((await client.receive(15)).toString()).toBe('through sockets');
  });

  it.each([
    ['0600', 0o600],
    ['777', 0o777],
  ])('listen on unix sockets with the configured permissions %s', async (socketMode, expected) => {
    await using bind = await unixAddress();
    const upstream = upstreamOf('db', [targetOf({ service: 'db' })], bind.address);
    const upstreams = [{ ...upstream, definition: { ...upstream.definition, socketMode } }];
    await using one = await startSidecar({ credentials: web, view: viewOf({ service: 'web', upstreams }) });
    await one.address('upstream:db');
    const { mode } = await stat(bind.address.host.slice('unix:'.length));
    expect(mode & 0o777).toBe(expected);
  });

  it('an application that is down is visible on both sides as a truncated connection', async () => {
    await using two = await startSidecar({ credentials: db, view: viewOf({ service: 'db' }) });
    await using one = await webSidecar(two);
    await using client = await rawClient(await one.address('upstream:db'));
    expect(await client.closed).toMatchObject({ kind: 'lost' });
    expect(await two.endings('public')).toEqual(['NO_BACKEND']);
    expect((await two.failure('public')).message).toContain('has no local_service_port');
    expect(await one.endings('upstream:db')).toEqual(['UPSTREAM_RESET']);
  });
});
