import { describe, expect, it } from 'vitest';
import { formatProblem } from '../src/lifecycle/plugin.ts';
import { judgingSnapshot, listenerProblems, snapshotProblems } from '../src/routes/snapshot-problems.ts';

const backend = { address: { host: '10.0.0.1', port: 8443 }, weight: 1, healthy: true };
const route = { name: 'api', serverNames: ['api.example.com'], backends: [backend] };

function withRoute(more: object): object {
  return { version: '1', routes: [{ ...route, ...more }] };
}

function withBackend(more: object): object {
  return withRoute({ backends: [{ ...backend, ...more }] });
}

function withAddress(host: unknown, port: unknown): object {
  return withBackend({ address: { host, port } });
}

function described(snapshot: unknown): readonly string[] {
  return snapshotProblems(snapshot).map((problem) => `${problem.severity}: ${formatProblem(problem)}`);
}

describe('a valid snapshot', () => {
  it.each([
    ['without routes', { version: '1', routes: [] }],
    ['with all settings', withRoute({ listeners: ['edge'], fallback: false, balance: 'random', connectTimeoutMs: 5 })],
    ['with a suffix, any name and an underscore', withRoute({ serverNames: ['*.a.example', '*', 'my_db.internal'] })],
    ['with a fallback route that has no name', withRoute({ serverNames: [], fallback: true })],
    ['with a route that a resolver finds by something else', withRoute({ serverNames: [] })],
    ['with a route without backends', withRoute({ backends: [] })],
    ['with a unix socket', withAddress('unix:/run/api.sock', 0)],
    ['with a backup', withBackend({ priority: 1 })],
    ['with keepalive', withRoute({ keepAlive: { idleMs: 1_000, intervalMs: 500, probes: 3 } })],
    ['without a user timeout', withRoute({ keepAlive: { idleMs: 1_000, userTimeoutMs: 0 } })],
    ['with labels', withBackend({ labels: { zone: 'a' } })],
    ['with failover', withRoute({ failover: { minHealthy: 1, returnAfterMs: 0 } })],
    ['that tells its backends of the client', withRoute({ proxyProtocol: 'v2' })],
    [
      'of which some backends are told of the client',
      withRoute({ proxyProtocol: 'off', backends: [{ ...backend, proxyProtocol: 'v1' }] }),
    ],
    [
      'with slow starts',
      withRoute({
        healthCheck: {
          kind: 'tls',
          intervalMs: 1,
          timeoutMs: 1,
          rise: 1,
          fall: 1,
          slowStartMs: 5,
          whenAllDown: 'refuse',
        },
      }),
    ],
    ['with limits', withRoute({ limits: { connections: 1, rate: { count: 0.5, perMs: 1 }, idleTimeoutMs: Infinity } })],
    ['to wherever clients ask', withRoute({ egress: { port: 443, allowAddresses: ['10.0.0.0/8'] } })],
    ['that closes connections of backends it has lost', withRoute({ onBackendDown: { graceMs: 0, spreadMs: 5 } })],
    ['that is stale', { version: '1', routes: [route], asOf: new Date(0), warnings: ['agent unreachable'] }],
  ])('%s has no problem', (_what, snapshot) => {
    expect(described(snapshot)).toEqual([]);
  });
});

describe('a malformed snapshot', () => {
  it.each([
    [null, 'error: expected a snapshot, found null'],
    ['routes', 'error: expected a snapshot, found "routes"'],
    [[], 'error: expected a snapshot, found a list'],
    [{ routes: [] }, 'error: version: expected a non-empty string, found undefined'],
    [{ version: '', routes: [] }, 'error: version: expected a non-empty string, found an empty string'],
    [{ version: '1' }, 'error: routes: expected a list, found undefined'],
    [{ version: '1', routes: [], asOf: 'today' }, 'error: asOf: expected a valid Date, found "today"'],
    [{ version: '1', routes: [], asOf: new Date(NaN) }, 'error: asOf: expected a valid Date, found an invalid Date'],
    [{ version: '1', routes: [], warnings: 'x' }, 'error: warnings: expected a list of strings, found "x"'],
    [{ version: '1', routes: [null] }, 'error: routes.0: expected a route, found null'],
    [withRoute({ name: undefined }), 'error: routes.0.name: expected a non-empty string, found undefined'],
    [withRoute({ serverNames: undefined }), 'error: routes.0.serverNames: expected a list, found undefined'],
    [withRoute({ serverNames: [7] }), 'error: routes.0.serverNames.0: expected a string, found 7'],
    [withRoute({ backends: null }), 'error: routes.0.backends: expected a list, found null'],
    [withRoute({ backends: [null] }), 'error: routes.0.backends.0: expected a backend, found null'],
    [withRoute({ listeners: 'edge' }), 'error: routes.0.listeners: expected a list of names, found "edge"'],
    [withRoute({ resetsEndWell: 1 }), 'error: routes.0.resetsEndWell: expected true or false, found 1'],
    [withRoute({ fallback: 'yes' }), 'error: routes.0.fallback: expected true or false, found "yes"'],
    [
      withRoute({ healthCheck: { kind: 'tcp', intervalMs: 0, timeoutMs: 1, rise: 1, fall: 1 } }),
      'error: routes.0.healthCheck: expected a health check: kind tcp or tls, times above 0, rise and fall of 1 or more, found an object',
    ],
    [
      withRoute({ balance: 'best' }),
      'error: routes.0.balance: expected one of round_robin, least_connections, random, client_hash, name_hash, or { name, settings }, found "best"',
    ],
    [
      withRoute({ connectTimeoutMs: NaN }),
      'error: routes.0.connectTimeoutMs: expected a number of milliseconds above 0, found NaN',
    ],
    [withRoute({ keepAlive: {} }), 'error: routes.0.keepAlive: expected keepalive times above 0, found an object'],
    [
      withBackend({ address: null }),
      'error: routes.0.backends.0.address: expected an address with host and port, found null',
    ],
    [withBackend({ healthy: 1 }), 'error: routes.0.backends.0.healthy: expected true or false, found 1'],
    [withAddress('', 1), 'error: routes.0.backends.0.address.host: expected a non-empty string, found an empty string'],
  ])('%j is rejected', (snapshot, expected) => {
    expect(described(snapshot)).toEqual([expected]);
  });

  it.each<[key: string, value: unknown, expected: string]>([
    ['limits', 5, 'routes.0.limits: expected limits, found 5'],
    ['limits', [], 'routes.0.limits: expected limits, found a list'],
    ['limits', { rate: 5 }, 'routes.0.limits.rate: expected a count and a time'],
    ['limits', { rate: { count: 1, perMs: Infinity } }, 'routes.0.limits.rate'],
    ['limits', { maxAgeMs: 0 }, 'routes.0.limits.maxAgeMs: expected a number of milliseconds above 0'],
    ['limits', { idleTimeoutMs: NaN }, 'routes.0.limits.idleTimeoutMs'],
    ['limits', { perBackend: 0.5 }, 'routes.0.limits.perBackend: expected an integer of 1 or more, found 0.5'],
    ['access', null, 'routes.0.access: expected access rules, found null'],
    ['access', { allow: 'all' }, 'routes.0.access.allow'],
    ['access', { denyFile: 'relative' }, 'routes.0.access.denyFile: expected an absolute path'],
    ['failover', 2, 'routes.0.failover'],
    ['failover', { minHealthy: 0 }, 'routes.0.failover'],
    ['failover', { minHealthy: 1, returnAfterMs: -1 }, 'routes.0.failover'],
    ['keepAlive', 'often', 'routes.0.keepAlive'],
    ['keepAlive', { idleMs: 1, probes: NaN }, 'routes.0.keepAlive'],
    ['healthCheck', 'tcp', 'routes.0.healthCheck'],
    [
      'healthCheck',
      { kind: 'tcp', intervalMs: 1, timeoutMs: 1, rise: 1, fall: 1, slowStartMs: 0 },
      'routes.0.healthCheck',
    ],
    [
      'healthCheck',
      { kind: 'tcp', intervalMs: 1, timeoutMs: 1, rise: 1, fall: 1, whenAllDown: 'wait' },
      'routes.0.healthCheck',
    ],
    ['proxyProtocol', 'v3', 'routes.0.proxyProtocol: expected v1, v2 or off, found "v3"'],
    ['onBackendRemoved', { graceMs: 0 }, 'routes.0.onBackendRemoved'],
    ['onBackendDown', 'close', 'routes.0.onBackendDown'],
    ['egress', { port: 0 }, 'routes.0.egress'],
    ['egress', { port: 443, allowAddresses: ['everything'] }, 'routes.0.egress'],
    ['balance', () => 1, 'routes.0.balance'],
    ['use', {}, 'routes.0.use'],
    ['use', [{ name: 'x' }], 'routes.0.use'],
    ['listeners', ['edge', 5], 'routes.0.listeners: expected a list of names'],
    ['withoutBackend', 'DENIED', 'routes.0.withoutBackend: expected NO_BACKEND or NO_GATEWAY'],
    ['connectTimeoutMs', Infinity, 'routes.0.connectTimeoutMs'],
  ])('is refused when %s of a route is %j', (key, value, expected) => {
    expect(described(withRoute({ [key]: value })).join('\n')).toContain(expected);
  });

  it.each<[key: string, value: unknown]>([
    ['labels', ['a']],
    ['labels', { zone: 5 }],
    ['labels', 'a'],
    ['proxyProtocol', 2],
    ['healthy', 'yes'],
    ['address', 'localhost:1'],
  ])('is refused when %s of a backend is %j', (key, value) => {
    expect(described(withBackend({ [key]: value })).join('\n')).toContain(`error: routes.0.backends.0.${key}`);
  });

  it('is described without its contents where these are long, or cannot be shown', () => {
    const name = 'x'.repeat(1_048_576);
    expect(described(withRoute({ name, fallback: () => 1, use: Symbol('s') })).join('\n')).toMatch(
      /^(?=[^]*fallback: expected true or false, found a function)(?=[^]*found Symbol\(s\))[^]{0,600}$/,
    );
    expect(described({ version: '1', routes: [route, { ...route, name }, { ...route, name }] })).toEqual([
      `warning: routes.2.name: another route of the source is named "${'x'.repeat(100)}…"`,
    ]);
    expect(described({ version: '1', routes: [], asOf: new Date(NaN) })).toEqual([
      'error: asOf: expected a valid Date, found an invalid Date',
    ]);
  });

  it.each([0, -30_351, 65_536, 100_721, 1.5, NaN, '8443', undefined, null])('is rejected for the port %s', (port) => {
    expect(described(withAddress('10.0.0.1', port))).toHaveLength(1);
  });

  it.each([0, -1, 0.5, NaN, Infinity, '2', undefined])('is rejected for the weight %s', (weight) => {
    expect(described(withBackend({ weight }))).toHaveLength(1);
  });

  it.each([-1, 0.5, NaN, '1', null])('is rejected for the priority %s', (priority) => {
    expect(described(withBackend({ priority }))).toHaveLength(1);
  });

  it('names every problem at once, up to a limit', () => {
    expect(described({ routes: [null, withRoute({}), { ...route, name: '' }] })).toHaveLength(6);
    expect(described({ version: '1', routes: Array.from({ length: 5_000 }, () => null) })).toHaveLength(100);
  });
});

describe('a name in a snapshot', () => {
  it.each([
    ['API.example.com', 'it must be in lower case'],
    ['api.example.com.', 'it ends in a dot'],
    ['', 'it is empty'],
    ['web@v2.example.com', '"web@v2" is no label of a host name'],
    ['a..example', '"" is no label of a host name'],
    ['*.*.example', '"*" is no label of a host name'],
    ['10.0.0.1', 'it is an IP address'],
    [`${'a'.repeat(64)}.example`, `"${'a'.repeat(64)}" is no label of a host name`],
    [`${'a.'.repeat(130)}example`, 'it has more than 253 characters'],
  ])('that no client can send is a warning: %s', (name, why) => {
    const [only, ...others] = snapshotProblems(withRoute({ serverNames: [name] }));
    expect(only).toMatchObject({ severity: 'warning', path: ['routes', 0, 'serverNames', 0] });
    expect(only?.message).toContain(why);
    expect(others).toEqual([]);
  });

  it('that two routes have is a warning', () => {
    expect(described({ version: '1', routes: [route, { ...route, serverNames: ['b.example'] }] })).toEqual([
      'warning: routes.1.name: another route of the source is named "api"',
    ]);
  });
});

describe('a list of listeners', () => {
  const listener = { name: 'edge', endpoint: { host: '0.0.0.0', port: 8443 } };

  it.each([
    ['that is empty', []],
    ['on any free port', [{ ...listener, endpoint: { host: '::', port: 0 } }]],
    ['on a unix socket', [{ ...listener, endpoint: { host: 'unix:/run/edge.sock', port: 0 } }]],
    ['with all settings', [{ ...listener, advertised: [{ host: '192.0.2.1', port: 1 }], access: { deny: ['unix'] } }]],
  ])('%s has no problem', (_what, listed) => {
    expect(listenerProblems(listed)).toEqual([]);
  });

  it.each<[what: string, listed: unknown, problem: string]>([
    ['nothing', undefined, 'expected a list of listeners, found undefined'],
    ['one listener alone', listener, 'expected a list of listeners, found an object'],
    ['null among them', [null], '0: expected a listener, found null'],
    ['one without a name', [{ ...listener, name: undefined }], '0.name: expected a non-empty string, found undefined'],
    ['one named by a symbol', [{ ...listener, name: Symbol('no') }], 'found Symbol(no)'],
    ['one without an address', [{ name: 'edge' }], '0.endpoint: expected an address with host and port'],
    ['a host that is a number', [{ ...listener, endpoint: { host: 7, port: 1 } }], '0.endpoint: expected an address'],
    ['a text for a port', [{ ...listener, endpoint: { host: '::', port: '1' } }], '0.endpoint: expected an address'],
    ['advertised addresses that are none', [{ ...listener, advertised: ['192.0.2.1'] }], '0.advertised'],
    ['access rules that are none', [{ ...listener, access: 'all' }], '0.access: expected access rules'],
    ['a network that is none', [{ ...listener, access: { allow: ['10.0.0.0/33'] } }], '0.access.allow'],
  ])('is refused for %s', (_what, listed, expected) => {
    expect(listenerProblems(listed).map(formatProblem).join('\n')).toContain(expected);
  });
});

it('judges a large snapshot in steps', () => {
  const routes = Array.from({ length: 1_000 }, (_, index) => ({ ...route, name: `r${index}` }));
  expect(Array.from(judgingSnapshot({ version: '1', routes }))).toHaveLength(5);
});
