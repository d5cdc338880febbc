import fc from 'fast-check';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint, ListenAddress, RouteSnapshot } from '@meshgate/core';
import type { DeclareSuite } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { consulParts } from '../src/index.ts';
import { anyCatalog, GATEWAY, marker } from './envoy/catalogs.ts';
import type { Write } from './envoy/catalogs.ts';
import { EnvoyView } from './envoy/envoy-view.ts';
import type { EnvoyRoute } from './envoy/envoy-view.ts';
import { Consul, consulMinor, describeWithConsul } from './real-consul.ts';
import { Watched } from './watched.ts';

// `MESHGATE_TEST_SEED=random npx vitest run …` generates other catalogs than the fixed ones.
const given = process.env['MESHGATE_TEST_SEED'] ?? '20';
const SEED = given === 'random' ? Math.floor(Math.random() * 1_000_000) : Number(given);
const TURNS = 12;
// Gateways of the other datacenter appear once its server has replicated them: after some seconds, and more on a busy machine.
const SETTLED_MS = 90_000;

// Later agents speak a newer xDS version, which this client does not support. Their responses are in `recorded/`.
const LAST_WITH_OLD_PROTOCOL = 9;
const isTooNew = consulMinor !== undefined && consulMinor > LAST_WITH_OLD_PROTOCOL;
const declare: DeclareSuite = isTooNew
  ? (name, suite) =>
      describe.skip(`${name} (Consul 1.${consulMinor} only supports version 3 of Envoy's protocol)`, suite)
  : describeWithConsul;

declare('for any catalog', () => {
  let one: Consul;
  let two: Consul;
  let envoy: EnvoyView;
  let routes: Watched;
  let listeners: Watched<readonly ListenAddress[]>;

  beforeAll(async () => {
    one = await Consul.start();
    two = await Consul.start({
      datacenter: 'dc2',
      node_name: 'server-2',
      primary_datacenter: 'dc1',
      retry_join_wan: [one.wanAddress],
    });
    await one.put('agent/service/register', { Name: 'gateway', ID: GATEWAY, Kind: 'mesh-gateway', Port: 8_443 });
    envoy = new EnvoyView(one.grpcAddress, GATEWAY);
    const parts = consulParts({ address: one.address, proxyId: GATEWAY });
    routes = new Watched(parts.routes);
    listeners = new Watched(parts.listeners);
  });
  afterAll(async () => {
    envoy[Symbol.dispose]();
    for (const running of [routes, listeners, one, two]) await running[Symbol.asyncDispose]();
  });

  it.each(Array.from({ length: TURNS }, (_, turn) => turn))(
    `routes and listeners are those that Consul configures in Envoy (seed ${SEED}, catalog %i)`,
    async (turn) => {
      const [catalog] = fc.sample(anyCatalog(turn), { seed: SEED + turn, numRuns: 1 });
      if (catalog === undefined) throw new Error('expected a catalog, found none');
      try {
        await send(catalog.register);
        const message = JSON.stringify(catalog.register, null, 1);
        await expect.poll(() => differences(turn), { timeout: SETTLED_MS, message }).toEqual([]);
      } finally {
        await send(catalog.remove);
      }
    },
    SETTLED_MS + 10_000,
  );

  async function send(writes: readonly Write[]): Promise<void> {
    for (const { datacenter, method, path, body } of writes) {
      const server = datacenter === 'dc1' ? one : two;
      await (method === 'PUT' ? server.put(path, body) : server.delete(path));
    }
  }

  /** One line per difference. Deliberate differences, which `docs/consul.md` lists, are left out. */
  function differences(turn: number): readonly string[] {
    const ours = ourRoutes(routes.latest);
    const theirs = theirRoutes(envoy.routes, turn);
    const locations = [listeners.latest?.map(({ endpoint }) => endpoint) ?? [], envoy.listeners].map(addressesOf);
    // Consul never sends Envoy an empty list of listeners: the last ones remain, with their names.
    const isDeaf = locations[0] === '';
    const names = [...new Set([...ours.keys(), ...theirs.keys()])].filter((name) => !isDeaf || !name.startsWith('*'));
    return [
      ...unknownMarker(turn, ours, theirs),
      ...(isDeaf || locations[0] === locations[1] ? [] : [`listeners: ${locations.join(' expected ')}`]),
      ...names.flatMap((name) => difference(name, ours.get(name), theirs.get(name))),
    ];
  }
});

function addressesOf(endpoints: readonly Endpoint[]): string {
  return endpoints.map(formatEndpoint).toSorted().join(' ');
}

/** The destination of a name, as one string. */
interface Lead {
  readonly connectTimeoutMs: number;
  readonly backends: readonly string[];
  /** Of several host names Consul sends only one. */
  readonly partial: boolean;
}

function ourRoutes(snapshot: RouteSnapshot | undefined): ReadonlyMap<string, readonly Lead[]> {
  const leads = (snapshot?.routes ?? []).flatMap(({ serverNames, connectTimeoutMs = DEFAULT_TIMEOUT_MS, backends }) =>
    serverNames.map((name) => [name, [leadOf({ connectTimeoutMs, backends, byName: false })]] as const),
  );
  return new Map(leads);
}

const DEFAULT_TIMEOUT_MS = 5_000;

/** In lower case: names that differ only in case are equal to a client, so either may match. */
function theirRoutes(routes: ReadonlyMap<string, EnvoyRoute>, turn: number): ReadonlyMap<string, readonly Lead[]> {
  const leads = new Map<string, readonly Lead[]>();
  for (const [name, route] of routes) {
    // Services of earlier catalogs: Consul 1.8 never removes them from what it sends to Envoy.
    const named = /-(\d+)\.default\.dc1\.internal\./.exec(name)?.[1];
    if (named !== undefined && Number(named) !== turn) continue;
    leads.set(name.toLowerCase(), [...(leads.get(name.toLowerCase()) ?? []), leadOf(route)]);
  }
  return leads;
}

function leadOf({ connectTimeoutMs, backends, byName }: EnvoyRoute): Lead {
  const shown = backends.map(
    ({ address, weight, healthy }) => `${formatEndpoint(address)} w${weight}${healthy ? '' : ' unhealthy'}`,
  );
  return { connectTimeoutMs, backends: shown.toSorted(), partial: byName };
}

function difference(name: string, ours: readonly Lead[] = [], theirs: readonly Lead[] = []): readonly string[] {
  const agree = ours.some((own) => theirs.some((other) => isSame(own, other)));
  return agree ? [] : [`${name}: ${JSON.stringify(ours)} expected ${JSON.stringify(theirs)}`];
}

function isSame(own: Lead, other: Lead): boolean {
  if (own.connectTimeoutMs !== other.connectTimeoutMs) return false;
  if (other.partial) return other.backends.every((backend) => own.backends.includes(backend));
  return own.backends.join() === other.backends.join();
}

/** Until this is present one side is behind the other, and a comparison means nothing. */
function unknownMarker(turn: number, ...sides: readonly ReadonlyMap<string, readonly Lead[]>[]): readonly string[] {
  const { service, port, remotePort } = marker(turn);
  const leadsTo = (prefix: string, location: string) => (side: ReadonlyMap<string, readonly Lead[]>) => {
    const [lead] = [...side].find(([name]) => name.startsWith(prefix))?.[1] ?? [];
    return lead?.partial === true || lead?.backends.some((backend) => backend.startsWith(`${location} `)) === true;
  };
  const services = sides.every(leadsTo(`${service}.`, `10.250.0.1:${port}`));
  const gateways = sides.every(leadsTo('dc2.internal.', `10.250.0.2:${remotePort}`));
  return services && gateways ? [] : ['not everything has arrived yet'];
}
