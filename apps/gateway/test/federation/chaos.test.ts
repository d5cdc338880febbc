import type { TlsTestBackend } from '@meshgate/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { Resources } from './resources.ts';
import { describeInNetworks } from './consul.ts';
import { eventually } from './eventually.ts';
import { SIDECAR_PORT } from './datacenter.ts';
import { Federation, GATEWAY_PORT } from './federation.ts';
import type { Member } from './federation.ts';
import { Stream } from './stream.ts';

const SET_UP_MS = 120_000;
const CHAOS_MS = 60_000;
// Enough to pass through both gateways of both datacenters many times.
const MANY = 25;

/**
 * From dc1 to a service in dc2 that has a healthy instance and one that fails its checks although it listens, through
 * two gateways on each side: one stream of connections through each gateway of dc1.
 */
describeInNetworks('under a steady stream of new connections', () => {
  const resources = new Resources();
  let federation: Federation;
  let unhealthy: TlsTestBackend;
  let streams: readonly [Stream, Stream];

  beforeAll(async () => {
    federation = resources.add(await Federation.create(2));
    unhealthy = await instancesIn(federation.two);
    for (const gateway of federation.two.gateways)
      await gateway.route(
        'service:db',
        ({ backends }) => backends.map(({ healthy }) => healthy).join() === 'true,false',
      );
  }, SET_UP_MS);
  afterAll(() => resources[Symbol.asyncDispose]());

  beforeEach(async () => {
    streams = [streamThrough(11), streamThrough(12)];
    for (const stream of streams) await stream.more(MANY);
  });
  afterEach(async () => {
    for (const stream of streams) await stream[Symbol.asyncDispose]();
    expect(unhealthy.accepted).toBe(0);
  });

  it.each(['one', 'two'] as const)(
    'the agent of datacenter %s is killed and started again: no connection fails',
    async (which) => {
      const { datacenter, gateways } = federation[which];
      await datacenter.consul.kill();
      for (const stream of streams) await stream.more(MANY);
      for (const gateway of gateways) await gateway.ready(({ warnings }) => warnings.join().includes('failing'));
      await datacenter.consul.restart();
      for (const gateway of gateways) await gateway.ready(({ ready, warnings }) => ready && warnings.length === 0);
      for (const stream of streams) await stream.more(MANY);
      for (const stream of streams) expect(stream.failuresApartFrom()).toEqual([]);
    },
    CHAOS_MS,
  );

  it.each([
    ['first', 0],
    ['second', 1],
  ] as const)(
    'the %s gateway here is killed and started again: no connection through the other one fails',
    async (_which, index) => {
      const gateway = federation.one.gateways[index];
      const [own, other] = index === 0 ? streams : streams.toReversed();
      await gateway?.kill();
      await other?.more(MANY);
      gateway?.restart();
      await own?.more(MANY);
      expect(other?.failuresApartFrom()).toEqual([]);
    },
    CHAOS_MS,
  );

  it.each([
    ['first', 0],
    ['second', 1],
  ] as const)(
    'the %s gateway there is killed and started again: only the connections that it carries fail',
    async (_which, index) => {
      const gateway = federation.two.gateways[index];
      const from = performance.now();
      await gateway?.kill();
      await refuses(federation.two, 11 + index);
      const dying = { from, until: performance.now() };
      for (const stream of streams) await stream.more(MANY);
      gateway?.restart();
      await gateway?.route('service:db');
      for (const stream of streams) await stream.more(MANY);
      for (const stream of streams) expect(stream.failuresApartFrom(dying)).toEqual([]);
    },
    CHAOS_MS,
  );

  /** Through the gateway of dc1 at this address. */
  function streamThrough(last: number): Stream {
    const { datacenter } = federation.one;
    const name = federation.nameOf('db', federation.two);
    return new Stream(async () => {
      await using client = await datacenter.client(datacenter.lan(last, GATEWAY_PORT), name);
      expect(await client.echo('still here')).toBe('still here');
    });
  }
});

/**
 * Until nothing accepts there: the kernel closes the files of an io_uring instance in a thread of its own, on a busy
 * machine some milliseconds after the process has exited.
 */
async function refuses({ datacenter }: Member, last: number): Promise<void> {
  const at = datacenter.lan(last, GATEWAY_PORT);
  await eventually(
    'a port that refuses',
    async () => (await datacenter.inside.probe(at)) === 'ECONNREFUSED' || undefined,
    CHAOS_MS,
  );
}

/**
 * A healthy instance, and one that listens and fails its checks, which is returned: on nodes without an agent, so their
 * health is fixed.
 */
async function instancesIn({ datacenter }: Member): Promise<TlsTestBackend> {
  const [, unhealthy] = await Promise.all(
    [21, 22].map(async (last) => {
      const at = datacenter.lan(last, SIDECAR_PORT);
      const backend = await datacenter.serve('db', at);
      const location = { Node: `node-${last}`, Address: at.host };
      const sidecar = {
        Service: 'db-sidecar-proxy',
        ID: `db-${last}-sidecar`,
        Kind: 'connect-proxy',
        Port: at.port,
        Proxy: { DestinationServiceName: 'db' },
      };
      const health = { CheckID: 'health', Name: 'health', ServiceID: sidecar.ID };
      const Check = { ...health, Status: last === 21 ? 'passing' : 'critical' };
      await datacenter.consul.put('catalog/register', { ...location, Service: { Service: 'db', Port: 80 } });
      await datacenter.consul.put('catalog/register', { ...location, Service: sidecar, Check });
      return backend;
    }),
  );
  if (unhealthy === undefined) throw new Error('expected two instances');
  return unhealthy;
}
