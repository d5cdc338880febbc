import { ProxyError } from '@meshgate/core';
import type { ProxyEvent } from '@meshgate/core';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { carrierVitals, exposition, gatewayVitals, METRICS, prometheusObserver } from '../src/index.ts';
import { VITALS } from './vitals.ts';
import {
  begun,
  closed,
  connected,
  connection,
  NOW_MS,
  replaced,
  route,
  updated,
  observed,
  observedOf,
} from './observed.ts';

const api = route('api');
const address = { host: '10.0.0.1', port: 443 };

describe('the own certificate', () => {
  it('has its expiry, as last reported by the source', async () => {
    const installed = (seconds: number): ProxyEvent => ({
      type: 'certificate.installed',
      source: 'ca',
      certificate: { identity: 'spiffe://x/svc/web', validUntil: new Date(seconds * 1_000) },
      authorities: [],
    });
    const { scrape } = observed(installed(1_900_000_000), installed(1_900_000_300));
    expect(await scrape('certificate')).toEqual([
      'meshgate_certificate_expiry_timestamp_seconds{source="ca"} 1900000300',
    ]);
  });

  it('has no metric when there is none', async () => {
    expect(await observed().scrape('certificate')).toEqual([]);
    expect(await observed().scrape('root')).toEqual([]);
  });

  it('has the expiry of the roots of its cluster and peers, without peers that are gone', async () => {
    const installed = (...peers: readonly string[]): ProxyEvent => ({
      type: 'certificate.installed',
      source: 'ca',
      certificate: { identity: 'spiffe://x/svc/web', validUntil: new Date(0) },
      authorities: ['mesh', ...peers].map((name) => ({ name, validUntil: new Date(1_900_000_000_000) })),
    });
    const { scrape } = observed(installed('peer beta', 'peer gamma'), installed('peer gamma'));
    expect(await scrape('root')).toEqual([
      'meshgate_root_expiry_timestamp_seconds{source="ca",authority="mesh"} 1900000000',
      'meshgate_root_expiry_timestamp_seconds{source="ca",authority="peer gamma"} 1900000000',
    ]);
  });
});

describe('connections', () => {
  it('are counted from accept to close', async () => {
    const { notify, scrape } = observed(...begun('1', api), connected('1', api), ...begun('2'));
    expect(await scrape('connections_active')).toEqual([
      'meshgate_connections_active{route="",listener="edge"} 1',
      'meshgate_connections_active{route="api",listener="edge"} 1',
    ]);
    notify(closed('1'), closed('2', 'SNIFF_TIMEOUT'));
    expect(await scrape('connections_')).toEqual([
      'meshgate_connections_accepted_total{listener="edge"} 2',
      'meshgate_connections_active{route="",listener="edge"} 0',
      'meshgate_connections_active{route="api",listener="edge"} 0',
      'meshgate_connections_closed_total{route="api",listener="edge",code="OK",side="none"} 1',
      'meshgate_connections_closed_total{route="",listener="edge",code="SNIFF_TIMEOUT",side="downstream"} 1',
    ]);
  });

  it('that are refused are neither accepted nor active', async () => {
    const error = new ProxyError('LIMIT_REACHED', 'full');
    const { scrape } = observed({ type: 'connection.refused', listener: 'edge', remote: address, error });
    expect(await scrape('connections_')).toEqual([
      'meshgate_connections_refused_total{listener="edge",code="LIMIT_REACHED"} 1',
    ]);
  });

  it('have their bytes counted by route and direction', async () => {
    const { scrape } = observed(...begun('1', api), connected('1', api), closed('1'));
    expect(await scrape('bytes_total{route="api"')).toEqual([
      'meshgate_bytes_total{route="api",direction="up"} 100',
      'meshgate_bytes_total{route="api",direction="down"} 4000',
    ]);
  });

  it('have their bytes counted while they live, each byte once, and never go backwards', async () => {
    let live = [{ connection: connection('1'), carried: { bytesUp: 30, bytesDown: 1000 } }];
    const { notify, scrape } = observedOf(() => live, ...begun('1', api), connected('1', api));
    const bytes = async () => (await scrape('bytes_total{route="api"')).map((line) => Number(line.split(' ')[1]));
    expect(await bytes()).toEqual([30, 1000]);
    live = [{ connection: connection('1'), carried: { bytesUp: 20, bytesDown: 3000 } }];
    expect(await bytes()).toEqual([30, 3000]);
    live = [];
    notify(closed('1'));
    expect(await bytes()).toEqual([100, 4000]);
  });

  it('whose route is removed while they live are counted under the empty name from then on', async () => {
    const live = [{ connection: connection('1'), carried: { bytesUp: 30, bytesDown: 1000 } }];
    const { notify, scrape } = observedOf(() => live, ...begun('1', api), connected('1', api));
    await scrape('bytes_total');
    notify(replaced([], ['api']), closed('1'));
    expect(await scrape('bytes_total')).toEqual([
      'meshgate_bytes_total{route="",direction="up"} 70',
      'meshgate_bytes_total{route="",direction="down"} 3000',
    ]);
  });

  it('count each failed dial under their route', async () => {
    const error = new ProxyError('CONNECT_REFUSED', 'refused');
    const failed: ProxyEvent = { type: 'dial.failed', connection: connection('1'), route: api, address, error };
    const { scrape } = observed(...begun('1', api), failed, failed, connected('1', api));
    expect(await scrape('dial_failures')).toEqual([
      'meshgate_dial_failures_total{route="api",code="CONNECT_REFUSED"} 2',
    ]);
  });

  it('have every stage measured in seconds', async () => {
    const { scrape } = observed(...begun('1', api), connected('1', api), closed('1'));
    const sums = (await scrape('_duration_seconds_sum')).filter((line) => line.includes('{'));
    expect(sums).toEqual([
      'meshgate_hello_duration_seconds_sum{listener="edge"} 0.002',
      'meshgate_connect_duration_seconds_sum{route="api"} 0.006',
      'meshgate_first_byte_duration_seconds_sum{route="api"} 0.012',
      'meshgate_connection_duration_seconds_sum{route="api"} 2',
    ]);
    expect(await scrape('connect_duration_seconds_bucket{le="0.005"')).toEqual([
      'meshgate_connect_duration_seconds_bucket{le="0.005",route="api"} 0',
    ]);
    expect(await scrape('connect_duration_seconds_bucket{le="0.01"')).toEqual([
      'meshgate_connect_duration_seconds_bucket{le="0.01",route="api"} 1',
    ]);
  });

  it('that were not seen before are ignored, rather than counted below zero', async () => {
    const { scrape } = observed(closed('unknown'));
    expect(await scrape('meshgate_connections_')).toEqual([]);
  });
});

describe('a route that is removed', () => {
  it('removes all of its series', async () => {
    const web = route('web');
    const lives = [api, web].flatMap((to) => [...begun(to.name, to), connected(to.name, to), closed(to.name)]);
    const { notify, scrape } = observed(...lives);
    expect(await scrape('route="api"')).not.toEqual([]);
    notify(replaced([web], ['api']));
    expect(await scrape('route="api"')).toEqual([]);
    expect(await scrape('bytes_total{route="web"')).toHaveLength(2);
  });

  it('is not restored by a connection that outlives it', async () => {
    const { notify, scrape } = observed(...begun('1', api), connected('1', api), replaced([], ['api']));
    expect(await scrape('connections_active')).toEqual(['meshgate_connections_active{route="",listener="edge"} 1']);
    notify(closed('1'));
    expect(await scrape('route="api"')).toEqual([]);
    expect(await scrape('connections_closed')).toEqual([
      'meshgate_connections_closed_total{route="",listener="edge",code="OK",side="none"} 1',
    ]);
    expect(await scrape('bytes_total')).toEqual([
      'meshgate_bytes_total{route="",direction="up"} 100',
      'meshgate_bytes_total{route="",direction="down"} 4000',
    ]);
  });

  it('starts at zero when it is added again, whatever older connections do', async () => {
    const { notify, scrape } = observed(...begun('old', api), replaced([], ['api']), replaced([api], []));
    notify(...begun('new', api), closed('old'));
    expect(await scrape('connections_active{route="api"')).toEqual([
      'meshgate_connections_active{route="api",listener="edge"} 1',
    ]);
    expect(await scrape('connections_closed_total{route="api"')).toEqual([]);
  });
});

describe('a source', () => {
  it('shows its routes, by kind, and its last success', async () => {
    const routes = [api, route('web', { kind: 'static', serverNames: ['a.example.com', '*.b.example.com'] })];
    const { scrape } = observed(updated(true), replaced(routes, [], ['token lacks node:read']));
    expect(await scrape('source="files"')).toEqual([
      'meshgate_source_routes{source="files",kind=""} 1',
      'meshgate_source_routes{source="files",kind="static"} 1',
      'meshgate_source_routes_down{source="files",kind=""} 0',
      'meshgate_source_routes_down{source="files",kind="static"} 0',
      'meshgate_source_server_names{source="files"} 3',
      'meshgate_source_warnings{source="files"} 1',
      `meshgate_source_last_success_timestamp_seconds{source="files"} ${NOW_MS / 1000}`,
      'meshgate_source_failing{source="files"} 0',
      'meshgate_source_failures_total{source="files"} 0',
      'meshgate_source_snapshots_total{source="files"} 1',
    ]);
  });

  it('removes a kind that it no longer has', async () => {
    const { scrape } = observed(replaced([route('web', { kind: 'static' })], []), replaced([], ['web']));
    expect(await scrape('source_routes{')).toEqual(['meshgate_source_routes{source="files",kind=""} 0']);
  });

  it('counts the routes without a healthy backend, except those with egress', async () => {
    const own = { host: '127.0.0.1', port: 443 };
    const routes = [
      route('empty', { kind: 'remote-datacenter', backends: [] }),
      route('ill', { kind: 'local-service', backends: [{ address: own, weight: 1, healthy: false }] }),
      route('well', { kind: 'local-service', backends: [{ address: own, weight: 1, healthy: true }] }),
      route('out', { kind: 'static', backends: [], egress: { port: 443 } }),
    ];
    const { scrape } = observed(replaced(routes, []));
    expect(await scrape('source_routes_down')).toEqual([
      'meshgate_source_routes_down{source="files",kind="remote-datacenter"} 1',
      'meshgate_source_routes_down{source="files",kind="local-service"} 1',
      'meshgate_source_routes_down{source="files",kind="static"} 0',
    ]);
  });

  it('is failing until it yields again, even without a change', async () => {
    const failed: ProxyEvent = { type: 'source.failed', source: 'files', error: new Error('gone'), retryInMs: 1000 };
    const { notify, scrape } = observed(failed, failed);
    expect(await scrape('source_fail')).toEqual([
      'meshgate_source_failing{source="files"} 1',
      'meshgate_source_failures_total{source="files"} 2',
    ]);
    notify(updated(false));
    expect(await scrape('source_failing')).toEqual(['meshgate_source_failing{source="files"} 0']);
  });
});

/** One row: the events, and the lines that a scrape then shows. */
const OTHERS: readonly (readonly [claim: string, events: readonly ProxyEvent[], lines: readonly string[]])[] = [
  [
    'a listener is up once it is open',
    [{ type: 'listener.opened', listener: 'edge', address }],
    ['meshgate_listener_up{listener="edge"} 1'],
  ],
  [
    'a listener that cannot bind is down and counted',
    [{ type: 'listener.failed', listener: 'edge', address, error: new Error('EADDRINUSE'), retryInMs: 1000 }],
    ['meshgate_listener_up{listener="edge"} 0', 'meshgate_listener_failures_total{listener="edge"} 1'],
  ],
  [
    'a listener without descriptors is paused',
    [{ type: 'listener.paused', listener: 'edge', reason: new Error('EMFILE') }],
    ['meshgate_listener_paused{listener="edge"} 1'],
  ],
  [
    'a listener that goes on is no longer paused',
    [
      { type: 'listener.paused', listener: 'edge', reason: new Error('EMFILE') },
      { type: 'listener.resumed', listener: 'edge' },
    ],
    ['meshgate_listener_paused{listener="edge"} 0'],
  ],
  [
    'a listener that is closed is neither up nor paused',
    [
      { type: 'listener.opened', listener: 'edge', address },
      { type: 'listener.paused', listener: 'edge', reason: new Error('EMFILE') },
      { type: 'listener.closed', listener: 'edge' },
    ],
    ['meshgate_listener_up{listener="edge"} 0', 'meshgate_listener_paused{listener="edge"} 0'],
  ],
  [
    'a backend ejected twice is two ejections of one backend',
    [
      { type: 'backend.ejected', address, forMs: 1000, failures: 5 },
      { type: 'backend.ejected', address, forMs: 2000, failures: 6 },
    ],
    ['meshgate_backend_ejections_total 2', 'meshgate_backends_ejected 1'],
  ],
  [
    'a backend that returned is no longer ejected',
    [
      { type: 'backend.ejected', address, forMs: 1000, failures: 5 },
      { type: 'backend.returned', address },
    ],
    ['meshgate_backend_ejections_total 1', 'meshgate_backends_ejected 0'],
  ],
  [
    'a lookup that failed says whether older addresses remain',
    [{ type: 'resolution.failed', host: 'db.internal', error: new Error('ENOTFOUND'), lastGood: true }],
    [
      'meshgate_resolution_failures_total{last_good="true"} 1',
      'meshgate_resolution_failures_total{last_good="false"} 0',
    ],
  ],
  [
    'a drain shows from its beginning',
    [
      { type: 'drain.started', connections: 3 },
      { type: 'drain.ended', finished: 2, cut: 1 },
    ],
    ['meshgate_draining 1'],
  ],
  [
    'a service that failed is counted by its name',
    [{ type: 'service.failed', service: 'admin', error: new Error('EADDRINUSE') }],
    ['meshgate_service_failures_total{service="admin"} 1'],
  ],
  [
    'an observer that threw is counted by its name',
    [{ type: 'observer.threw', observer: 'audit', error: new Error('full') }],
    ['meshgate_observer_failures_total{observer="audit"} 1'],
  ],
];

describe('everything else', () => {
  it.each(OTHERS)('%s', async (_claim, events, lines) => {
    expect(await observed(...events).scrape('meshgate_')).toEqual(expect.arrayContaining([...lines]));
  });

  it('addresses and server names never become labels', async () => {
    const { scrape } = observed(
      ...begun('1', api),
      connected('1', api),
      closed('1'),
      replaced([api], []),
      ...OTHERS.flatMap(([, events]) => events),
    );
    const lines = (await scrape('')).join('\n');
    expect(lines).not.toMatch(/127\.0\.0\.1|10\.0\.0\.1|example\.com|db\.internal/);
  });
});

it('every metric of the table is registered with its type and labels, and no other', () => {
  const { registry } = observed();
  gatewayVitals(registry, VITALS);
  carrierVitals(registry, { pendingHellos: () => 0, pipes: () => undefined });
  const found = registry.getMetricsAsArray().map(({ name }) => name);
  const { build, ...ofTheProxy } = METRICS;
  expect(found.sort()).toEqual(
    Object.values(ofTheProxy)
      .map(({ name }) => name)
      .sort(),
  );
  expect(found).not.toContain(build.name);
});

describe('several proxies in one registry', () => {
  it.each([
    ['no labels', undefined, undefined],
    ['the same labels', { proxy: 'a' }, { proxy: 'a' }],
    ['labels of other names', { proxy: 'a' }, { site: 'a' }],
    ['labels that only one of them has', undefined, { proxy: 'a' }],
  ])('with %s are an error, not a mixture', (_labels, first, second) => {
    const registry = new Registry();
    prometheusObserver({ registry, ...(first && { labels: first }) });
    expect(() => prometheusObserver({ registry, ...(second && { labels: second }) })).toThrow(
      /already been registered: expected labels/,
    );
  });

  it('are distinguished by their labels, on every kind of metric', async () => {
    const registry = new Registry();
    const [one, other] = ['a', 'b'].map((proxy) => prometheusObserver({ registry, labels: { proxy } }));
    for (const proxy of ['a', 'b']) gatewayVitals(registry, VITALS, { proxy });
    for (const event of [...begun('1', api), connected('1', api), closed('1')]) one?.observe(event);
    other?.observe({ type: 'connection.accepted', connection: connection('2') });
    const { body } = await exposition(registry, undefined);
    for (const line of [
      'meshgate_connections_accepted_total{listener="edge",proxy="a"} 1',
      'meshgate_connections_accepted_total{listener="edge",proxy="b"} 1',
      'meshgate_connect_duration_seconds_count{route="api",proxy="a"} 1',
      'meshgate_ready{proxy="a"} 1',
      'meshgate_ready{proxy="b"} 1',
    ])
      expect(body.split('\n')).toContain(line);
    expect(body.match(/# TYPE meshgate_connections_accepted_total/g)).toHaveLength(1);
  });

  it('leave nothing behind when they are closed: another may replace one', async () => {
    const registry = new Registry();
    const [one, other] = ['a', 'b'].map((proxy) => prometheusObserver({ registry, labels: { proxy } }));
    one?.close();
    const again = prometheusObserver({ registry, labels: { proxy: 'a' } });
    again.observe({ type: 'connection.accepted', connection: connection('1') });
    expect((await exposition(registry, undefined)).body).toContain('accepted_total{listener="edge",proxy="a"} 1');
    for (const observer of [again, other]) observer?.close();
    expect(registry.getMetricsAsArray()).toEqual([]);
  });

  it('may not have a label that metrics use themselves', () => {
    expect(() => prometheusObserver({ registry: new Registry(), labels: { route: 'a' } })).toThrow(
      'labels: expected names that no metric has for a label of its own, found route',
    );
  });
});
