import { indexRoutes, RouteTable } from '@meshgate/core/parts';
import type { Route } from '@meshgate/core';
import { parseRouteFile } from '@meshgate/file-source';
import { describe, expect, it } from 'vitest';
import { RESPONSES } from '../src/admin/response-schemas.ts';
import { requestedName, explain } from '../src/cli/explain.ts';
import { explanationText, routesText } from '../src/cli/tables.ts';
import { routesView } from '../src/admin/views.ts';

const route = (name: string, serverNames: readonly string[], rest: Partial<Route> = {}): Route => {
  return { name, serverNames, backends: [], ...rest };
};

const backends = [
  { address: { host: '10.0.0.1', port: 443 }, weight: 2, healthy: true },
  { address: { host: '2001:db8::1', port: 443 }, weight: 1, healthy: false },
];
const origin = { file: '/etc/routes.yaml', line: '7' };

const TABLE = new RouteTable([
  indexRoutes('first', {
    version: '1',
    routes: [
      route('api', ['api.example.com'], { backends, kind: 'static', origin }),
      route('apps', ['*.example.com'], { backends }),
    ],
  }),
  indexRoutes('second', {
    version: '1',
    routes: [route('other-api', ['api.example.com']), route('deep', ['*.deep.example.com']), route('rest', ['*'])],
  }),
]);

describe('a requested name', () => {
  it('is normalised as in a ClientHello', () => {
    expect(requestedName('API.example.com.')).toEqual({ kind: 'name', serverName: 'api.example.com' });
  });

  it.each([
    ['10.0.0.1', 'expected a host name, found what reads as an IPv4 address'],
    ['::1', 'expected a host name, found what reads as an IPv6 address'],
    ['a..b', 'expected labels of 1 to 63 bytes in the host name, found one of 0'],
    ['a b.example', expect.stringContaining('found byte 0x20 at 1')],
    ['*.example', expect.stringContaining('found byte 0x2a at 0')],
    ['b\u00fccher.example', expect.stringContaining('found byte 0xc3 at 1')],
    ['a.'.repeat(128), 'expected a host name of 1 to 253 bytes, found 256'],
  ])('is explained when no client can send it: %j', (name, detail) => {
    const queried = requestedName(name);
    const why = queried.kind === 'impossible' ? queried.why : '';
    expect(why.replace(/^no client can send .* as a server name: /, '')).toEqual(detail);
  });
});

describe('an explanation', () => {
  it('of a name that no client can send, but that a route has, reports both', () => {
    const name = 'web@v2.default.dc1.internal.example';
    const table = new RouteTable([indexRoutes('consul', { version: '1', routes: [route('service:web@v2', [name])] })]);
    expect(explain(name, table)).toMatchObject({ found: true, route: 'service:web@v2', match: 'exact' });
    expect(explain(name, table).why).toMatch(/^exact match, but no client can send .* byte 0x40 at 3$/);
  });

  it('names the route, its source, its origin, its backends, and every route that it shadows', () => {
    expect(explain('API.example.com.', TABLE, { isEjected: ({ host }) => host === '10.0.0.1' })).toEqual({
      found: true,
      serverName: 'api.example.com',
      route: 'api',
      source: 'first',
      match: 'exact',
      pattern: 'api.example.com',
      kind: 'static',
      why: 'exact match; source first takes precedence over second',
      origin,
      backends: [
        { host: '10.0.0.1', port: 443, weight: 2, healthy: true, ejected: true },
        { host: '2001:db8::1', port: 443, weight: 1, healthy: false, ejected: false },
      ],
      shadowed: [
        { route: 'other-api', source: 'second', match: 'exact', pattern: 'api.example.com' },
        { route: 'apps', source: 'first', match: 'suffix', pattern: '*.example.com' },
        { route: 'rest', source: 'second', match: 'any', pattern: '*' },
      ],
    });
  });

  it.each([
    ['x.deep.example.com', 'deep', 'longest suffix match: *.deep.example.com'],
    ['x.example.com', 'apps', 'longest suffix match: *.example.com'],
    ['nobody.test', 'rest', 'no exact or suffix match; * matches every name'],
  ])('of %s is route %s: %s', (name, found, why) => {
    expect(explain(name, TABLE)).toMatchObject({ route: found, why });
  });

  it('of a short name lists the full names that it may abbreviate', () => {
    const names = ['api.default.dc2.internal.example', 'api.default.dc1.internal.example', 'apix.example'];
    const routes = names.map((name) => route(name, [name]));
    expect(explain('api', new RouteTable([indexRoutes('one', { version: '1', routes })]))).toMatchObject({
      found: false,
      nearest: ['api.default.dc1.internal.example', 'api.default.dc2.internal.example'],
    });
  });

  it('of a name without a route has similar names, the most similar first', () => {
    const table = new RouteTable([
      indexRoutes('s', {
        version: '1',
        routes: [route('a', ['api.example.com', 'apx.example.org', '*.example.con', 'quite.another'])],
      }),
    ]);
    expect(explain('apx.example.com', table)).toEqual({
      found: false,
      serverName: 'apx.example.com',
      why: 'no route matches the name, a suffix of it, or * (1 route in the table)',
      nearest: ['api.example.com', 'apx.example.org', '*.example.con'],
    });
  });
});

describe('in the format for people', () => {
  it('an explanation has a few lines', () => {
    expect(explanationText(explain('api.example.com', TABLE))).toBe(`\
api.example.com: route api, exact match; source first takes precedence over second
  source   first
  kind     static
  file     /etc/routes.yaml
  line     7
  shadows  other-api (api.example.com of second)
  shadows  apps (*.example.com of first)
  shadows  rest (* of second)
  BACKEND            WEIGHT  STATE
  10.0.0.1:443       2       healthy
  [2001:db8::1]:443  1       unhealthy
`);
    expect(explanationText(explain('x.deep.example.com', TABLE))).toContain(
      'no backend: connections are closed with NO_BACKEND',
    );
  });

  it('the routes are a table, followed by the problems of the sources', () => {
    const statuses = [
      { name: 'first', state: 'current', routes: 2, warnings: ['old'] },
      { name: 'second', state: 'failing', routes: 3, warnings: [], error: new Error('agent is gone') },
      { name: 'third', state: 'stale', routes: 0, warnings: ['f:1:1: oops'], lastSuccess: new Date(0) },
    ] as const;
    expect(routesText(routesView({ table: TABLE, sources: statuses }, { connectTimeoutMs: 5_000 }))).toBe(`\
ROUTE      SERVER NAMES        BACKENDS                                    KIND    SOURCE
api        api.example.com     10.0.0.1:443 [2001:db8::1]:443 (unhealthy)  static  first
apps       *.example.com       10.0.0.1:443 [2001:db8::1]:443 (unhealthy)          first
other-api  api.example.com     none                                                second
deep       *.deep.example.com  none                                                second
rest       *                   none                                                second
source first: old
source second is failing: agent is gone
source third is stale since 1970-01-01T00:00:00.000Z
source third: f:1:1: oops
`);
  });
});

describe('control characters in a catalog, a route or a name', () => {
  const HOSTILE: readonly (readonly [what: string, text: string, shown: string])[] = [
    ['a sequence that clears the screen', '\u001b[2J', '\\u001b[2J'],
    ['one that sets the title of the window', '\u001b]0;x\u0007', '\\u001b]0;x\\u0007'],
    ['one that begins with a C1 control', '\u009b31m', '\\u009b31m'],
    ['a line break', 'a\nroute forged', 'a\\u000aroute forged'],
    ['a return of the carriage', 'a\rb', 'a\\u000db'],
    ['a tab', 'a\tb', 'a\\u0009b'],
    ['a backspace and a delete', '\b\u007f', '\\u0008\\u007f'],
    ['letters the other way round', '\u202eabc\u2066', '\\u202eabc\\u2066'],
    ['a separator of lines', 'a\u2028b', 'a\\u2028b'],
  ];
  const RAW = /[^\n\u0020-\u007e]/;

  it.each(HOSTILE)('is shown escaped, in aligned columns: %s', (_what, text, shown) => {
    const hostile = route(text, [text, '*'], {
      kind: text,
      listeners: [text],
      origin: { [text]: text },
      backends: [{ address: { host: text, port: 1 }, weight: 1, healthy: true }],
    });
    const plain = route('plain', ['*.example'], { kind: 'k' });
    const table = new RouteTable([indexRoutes(text, { version: '1', routes: [hostile, plain] })]);
    const status = { name: text, state: 'failing', routes: 2, warnings: [text], error: new Error(text) } as const;
    const routes = routesText(routesView({ table, sources: [status] }, { connectTimeoutMs: 5_000 }));
    const [head = '', first = '', second = ''] = routes.split('\n');
    expect(first).toContain(shown);
    expect(first.indexOf(` ${shown} `)).toBeGreaterThan(-1);
    expect(second.indexOf('*.example')).toBe(head.indexOf('SERVER NAMES'));
    expect(second.lastIndexOf('k')).toBe(head.indexOf('KIND'));
    const found = explanationText(explain(text, table, { listener: text }));
    const lost = explanationText(explain(`${text}.test`, table));
    expect(found).toContain(`route ${shown}`);
    for (const output of [routes, found, lost]) expect(output).not.toMatch(RAW);
    expect(routes.trimEnd().split('\n')).toHaveLength(5);
  });
});

describe('an explanation of a name that depends on the listener', () => {
  const backend = { address: { host: '10.0.0.1', port: 443 }, weight: 1, healthy: true };
  const backup = { address: { host: '10.0.0.9', port: 443 }, weight: 1, healthy: true, priority: 1 };
  const table = new RouteTable([
    indexRoutes('file', {
      version: '1',
      routes: [
        { name: 'public', serverNames: ['api.example.com'], backends: [backend, backup] },
        { name: 'inner', serverNames: ['api.example.com'], listeners: ['internal'], backends: [backend] },
        { name: 'admin', serverNames: ['admin.example.com'], listeners: ['internal'], backends: [] },
      ],
    }),
  ]);

  it('shows the listeners on which a route matches it', () => {
    expect(explain('api.example.com', table)).toMatchObject({
      route: 'public',
      backends: [{ host: '10.0.0.1' }, { host: '10.0.0.9', priority: 1 }],
      onListeners: [{ listener: 'internal', route: 'inner', source: 'file', match: 'exact' }],
    });
    expect(explain('api.example.com', table, { listener: 'edge' })).toMatchObject({ route: 'public' });
  });

  it('shows which priority is in use, by the state of the backends', () => {
    const down = { isEjected: ({ host }: { readonly host: string }) => host === '10.0.0.1' };
    expect(explain('api.example.com', table)).toMatchObject({ priorityInUse: 0 });
    const failedOver = explain('api.example.com', table, down);
    expect(failedOver).toMatchObject({ priorityInUse: 1 });
    expect(explanationText(failedOver)).toMatch(/in use\s+backups of priority 1/);
    expect(explain('api.example.com', table, { listener: 'internal' })).not.toHaveProperty('priorityInUse');
    const allDown = { isEjected: () => true };
    expect(explain('api.example.com', table, allDown)).toMatchObject({ priorityInUse: 0 });
  });

  it('shows which labels decide, where the gateway prefers some and not all backends have them', () => {
    const near = { ...backend, labels: { zone: 'a', rack: '1' } };
    const far = { ...backup, priority: 0, labels: { zone: 'b' } };
    const zones = new RouteTable([
      indexRoutes('file', {
        version: '1',
        routes: [{ name: 'cache', serverNames: ['cache.test'], backends: [near, far] }],
      }),
    ]);
    const prefer = { zone: 'a', rack: '2' };
    const found = explain('cache.test', zones, { prefer });
    expect(found).toMatchObject({ preferred: { zone: 'a' } });
    expect(explanationText(found)).toMatch(/preferred +backends with zone a\n/);
    const isEjected = ({ host }: { readonly host: string }): boolean => host === near.address.host;
    for (const options of [{}, { prefer: { zone: 'c' } }, { prefer, isEjected }])
      expect(explain('cache.test', zones, options)).not.toHaveProperty('preferred');
  });

  it('shows which clients its listeners allow, for all of them or the requested one', () => {
    const listeners = [{ name: 'edge' }, { name: 'internal', access: { allow: ['10.0.0.0/8'], denyFile: '/bad.txt' } }];
    const every = explain('api.example.com', table, { listeners });
    expect(every).toMatchObject({ listenerAccess: [{ listener: 'internal', access: { allow: ['10.0.0.0/8'] } }] });
    const text = explanationText(every);
    expect(text).toMatch(/allow on internal\s+10\.0\.0\.0\/8\n/);
    expect(text).toMatch(/deny on internal\s+those of \/bad\.txt\n/);
    expect(explain('api.example.com', table, { listeners, listener: 'edge' })).not.toHaveProperty('listenerAccess');
  });

  it('shows which priority is held back after it was out of service, and for how much longer', () => {
    const held = [
      { route: 'public', priority: 0, forMs: 12_000 },
      { route: 'public', priority: 0, forMs: 4_000 },
      { route: 'inner', priority: 0, forMs: 60_000 },
    ];
    const explained = explain('api.example.com', table, { held });
    expect(explained).toMatchObject({ priorityInUse: 1, heldBack: [{ priority: 0, forMs: 12_000 }] });
    expect(explanationText(explained)).toMatch(/held back\s+priority 0, for 12 s more/);
    // There is nothing else: the stored snapshot is used.
    const backupDown = { held, isEjected: ({ host }: { readonly host: string }) => host === '10.0.0.9' };
    const used = explain('api.example.com', table, backupDown);
    expect(used).toMatchObject({ priorityInUse: 0 });
    expect(used).not.toHaveProperty('heldBack');
  });

  it('is that of the requested listener', () => {
    expect(explain('api.example.com', table, { listener: 'internal' })).toMatchObject({
      route: 'inner',
      listeners: ['internal'],
      shadowed: [{ route: 'public' }],
    });
  });

  it('shows that a name is matched on another listener', () => {
    expect(explain('admin.example.com', table)).toMatchObject({
      found: false,
      onListeners: [{ listener: 'internal', route: 'admin' }],
    });
    expect(explain('admin.example.com', table, { listener: 'edge' })).not.toHaveProperty('onListeners');
  });

  it('is readable', () => {
    expect(explanationText(explain('api.example.com', table))).toBe(`\
api.example.com: route public, exact match
  source       file
  on internal  route inner (api.example.com of file)
  BACKEND       PRIORITY  WEIGHT  STATE
  10.0.0.1:443  0         1       healthy
  10.0.0.9:443  1         1       healthy
`);
  });
});

describe('a route with every setting', () => {
  const { routes, problems } = parseRouteFile(
    `routes:
  - name: all
    serverNames: [all.example.com]
    balance: client_hash
    use: [{ name: tag, label: a }, { name: slow }]
    access: { allow: [192.0.2.0/24], denyFile: /etc/denied.txt }
    limits: { connections: 10, rate: 5/s, perBackend: 3, maxAge: 1h, idleTimeout: off, halfCloseTimeout: 1m }
    proxyProtocol: v2
    connectTimeout: 2s
    retryBeforeFirstByte: true
    onBackendRemoved: { grace: 10m, spread: 1m }
    onBackendDown: close
    healthCheck: { kind: tls, serverName: all.example.com, slowStart: 30s, whenAllDown: refuse }
    failover: { minHealthy: 2, returnAfter: 30s }
    backends:
      - { address: 10.0.0.1, port: 443, weight: 2, labels: { zone: a } }
      - { address: 10.0.0.2, port: 443, proxyProtocol: off }
      - { address: 10.0.0.3, port: 443, priority: 1 }
  - { name: out, serverNames: ['*.example.org'], egress: { port: 8443, allowAddresses: [10.0.0.0/8] } }
  - { name: none, serverNames: [none.example.com], backends: [] }
`,
    '/etc/routes.yaml',
  );
  const table = new RouteTable([indexRoutes('file', { version: '1', routes })]);
  const known = {
    prefer: { zone: 'a' },
    held: [],
    listeners: [{ name: 'main', access: { allow: ['10.0.0.0/8'] } }],
  };

  it('has no problems, and is complete in the responses, as their schemas define', () => {
    expect(problems).toEqual([]);
    const shown = { ...routesView({ table, sources: [] }, { connectTimeoutMs: 5_000, ...known }) };
    const response: unknown = JSON.parse(JSON.stringify({ ...shown, routes: [...shown.routes] }));
    expect(RESPONSES.Routes.safeParse(response).error).toBeUndefined();
    for (const name of ['all.example.com', 'a.example.org', 'none.example.com', 'nothing.test']) {
      const explained: unknown = JSON.parse(JSON.stringify(explain(name, table, known)));
      expect(RESPONSES.Explanation.safeParse(explained).error, name).toBeUndefined();
    }
  });

  it('has its balance and its layers in the table of routes', () => {
    const text = routesText(routesView({ table, sources: [] }, { connectTimeoutMs: 5_000, ...known }));
    expect(text).toContain('SETTINGS                KIND');
    expect(text).toMatch(/all +all\.example\.com .* client_hash, tag, slow +static +file/);
  });

  it('is explained line by line', () => {
    expect(explanationText(explain('all.example.com', table, known))).toBe(`\
all.example.com: route all, exact match
  source           file
  kind             static
  file             /etc/routes.yaml
  line             2
  balance          client_hash
  layers           tag, slow
  failover         below 2 healthy, returns after 30 s
  preferred        backends with zone a
  allow on main    10.0.0.0/8
  allow            192.0.2.0/24
  deny             those of /etc/denied.txt
  limits           connections 10, perBackend 3, rate 5/s, maxAge 1h, idleTimeout off, halfCloseTimeout 1m
  PROXY protocol   v2
  health check     tls of all.example.com, every 5 s, timeout 2 s, rise 2, fall 3, slow start 30 s, refused when all are down
  retry            before the first byte
  removed backend  connections closed after 10 min, spread over 1 min
  backend down     connections closed at once, spread over 5 s
  BACKEND       PRIORITY  WEIGHT  STATE
  10.0.0.1:443  0         2       healthy, zone a
  10.0.0.2:443  0         1       healthy, PROXY protocol off
  10.0.0.3:443  1         1       healthy
`);
  });
});
