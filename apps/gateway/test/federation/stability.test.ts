import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatEndpoint } from '@meshgate/core';
import type { IssuedCertificate, TlsClient } from '@meshgate/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Resources, temporaryFolder } from './resources.ts';
import { describeInNetworks } from './consul.ts';
import { Datacenter } from './datacenter.ts';
import { eventually } from './eventually.ts';
import { GATEWAY_PORT } from './federation.ts';
import type { DaemonProcess } from './daemon.ts';
import { StandIn } from './stand-in.ts';
import { Stream } from './stream.ts';

const TEST_MS = 60_000;
const MANY = 15;
// Mostly the start of a process on a machine that may be busy.
const AT_ONCE_MS = 5_000;

describeInNetworks('a gateway whose agent fails', () => {
  const resources = new Resources();
  let datacenter: Datacenter;
  let trustDomain: string;
  let identity: IssuedCertificate;

  beforeEach(async () => {
    datacenter = resources.add(await Datacenter.create(1, { settings: {} }));
    await datacenter.consul.ready();
    trustDomain = await datacenter.consul.trustDomain();
    identity = await datacenter.consul.identity('web');
    await datacenter.instance('db', 21);
  }, TEST_MS);
  afterEach(() => resources[Symbol.asyncDispose]());

  it.each(['garbage', 'status 500'] as const)(
    'by responding with %s keeps routing, reports it, and follows it again afterwards',
    async (manner) => {
      await using agent = await StandIn.before(datacenter.inside);
      const gateway = await started('--http-addr', agent.address);
      await using stream = await streamTo('db');
      agent.behave(manner);
      const { ready } = await gateway.ready(({ warnings }) => warnings.join().includes('failing'));
      await stream.more(MANY);
      agent.behave('itself');
      await follows(gateway);
      await stream.more(MANY);
      expect({ ready, failures: stream.failuresApartFrom() }).toEqual({ ready: true, failures: [] });
    },
    TEST_MS,
  );

  it(
    'by responding late keeps routing, and follows it late',
    async () => {
      await using agent = await StandIn.before(datacenter.inside);
      const gateway = await started('--http-addr', agent.address);
      await using stream = await streamTo('db');
      agent.behave('slow');
      await stream.more(MANY);
      await follows(gateway);
      expect(stream.failuresApartFrom()).toEqual([]);
    },
    TEST_MS,
  );

  it(
    'by stopping in the middle of a response keeps routing, and follows it when it continues',
    async () => {
      const gateway = await started();
      await using stream = await streamTo('db');
      datacenter.consul.freeze(true);
      await stream.more(MANY);
      datacenter.consul.freeze(false);
      await follows(gateway);
      expect(stream.failuresApartFrom()).toEqual([]);
    },
    TEST_MS,
  );

  it(
    'by dying keeps routing, and follows it when it is back',
    async () => {
      const gateway = await started();
      await using stream = await streamTo('db');
      await datacenter.consul.kill();
      await gateway.ready(({ ready, warnings }) => ready && warnings.join().includes('failing'));
      await stream.more(MANY);
      await datacenter.consul.restart();
      await follows(gateway);
      expect(stream.failuresApartFrom()).toEqual([]);
    },
    TEST_MS,
  );

  it(
    'by losing all of its state keeps routing with the last data, registers again, and uses new data',
    async () => {
      const gateway = await started();
      await using stream = await streamTo('db');
      await datacenter.consul.kill();
      await datacenter.consul.restart({ empty: true });
      await gateway.ready(({ ready, warnings }) => ready && warnings.join().includes('lost its state'));
      await stream.more(MANY);
      expect(stream.failuresApartFrom()).toEqual([]);
      await eventually('the gateway to be registered again', () => datacenter.consul.get(OWN), TEST_MS);
      await datacenter.instance('other', 22);
      await gateway.route('service:other');
      const name = `other.default.dc1.internal.${await datacenter.consul.trustDomain()}`;
      await using client = await datacenter.client(LAN, name);
      expect(await client.echo('anew')).toBe('anew');
      await stream.more(MANY);
      expect(stream.failuresApartFrom()).toEqual([]);
    },
    TEST_MS,
  );

  it(
    'before it starts routes at once with the stored routes, and reports it',
    async () => {
      const file = join(resources.add(temporaryFolder()).path, 'meshgate.yaml');
      writeFileSync(file, 'stateDir: state\n');
      const gateway = await started('--config', file);
      gateway.signal('SIGTERM');
      expect(await gateway.ended).toBe(0);
      await datacenter.consul.kill();
      const logged = gateway.lines.length;
      const at = performance.now();
      gateway.restart();
      const name = `db.default.dc1.internal.${trustDomain}`;
      const connect = (): Promise<TlsClient> => datacenter.client(LAN, name, identity);
      await using client = await eventually('a way through', connect, TEST_MS);
      expect(performance.now() - at).toBeLessThan(AT_ONCE_MS);
      expect(await client.echo('kept')).toBe('kept');
      const { ready, warnings } = await gateway.ready();
      expect({ ready, warnings }).toEqual({
        ready: true,
        warnings: expect.arrayContaining([expect.stringContaining('using routes stored on')]),
      });
      expect(gateway.lines.slice(logged)).toContainEqual(
        expect.objectContaining({ level: 'warn', msg: expect.stringContaining('using routes stored on') }),
      );
      await datacenter.consul.restart();
      await gateway.ready((now) => now.warnings.length === 0);
      await follows(gateway);
    },
    TEST_MS,
  );

  /** A gateway that routes to `db`. */
  async function started(...flags: readonly string[]): Promise<DaemonProcess> {
    const gateway = datacenter.gateway(19_001, '--register', '--address', formatEndpoint(LAN), ...flags);
    await gateway.route('service:db');
    await gateway.ready();
    return gateway;
  }

  /** Resolves once the gateway has applied a change that is made now. */
  async function follows(gateway: DaemonProcess): Promise<void> {
    await datacenter.instance('late', 23);
    await gateway.route('service:late');
  }

  /** An established stream. */
  async function streamTo(service: string): Promise<Stream> {
    const name = `${service}.default.dc1.internal.${trustDomain}`;
    const stream = new Stream(async () => {
      await using client = await datacenter.client(LAN, name, identity);
      expect(await client.echo('still here')).toBe('still here');
    });
    await stream.more(MANY);
    return stream;
  }
});

const LAN = { host: '10.1.0.11', port: GATEWAY_PORT };
const OWN = 'agent/service/mesh-gateway';
