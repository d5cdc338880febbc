import { afterEach, describe, expect, it, vi } from 'vitest';
import { BackendHealth, healthKey } from '../src/health/backend-health.ts';
import { AddressBook } from '../src/names/address-book.ts';
import type { BalanceFactory } from '../src/pipeline/picker.ts';
import { balancedConnector } from '../src/pipeline/connect.ts';
import { FailoverGroups } from '../src/pipeline/failover-groups.ts';
import type { ConnectorOptions } from '../src/pipeline/connect.ts';
import { Connecting } from '../src/pipeline/connecting.ts';
import type { Upstream } from '../src/pipeline/connection.ts';
import { formatEndpoint } from '../src/transport/endpoint.ts';
import { ProxyError } from '../src/errors.ts';
import type { ProxyEvent } from '../src/observe.ts';
import { Outliers } from '../src/pipeline/outliers.ts';
import { withDial } from '../src/pipeline/stages.ts';
import type { ConnectContext } from '../src/pipeline/stages.ts';
import type { Backend, Route } from '../src/routes/route.ts';
import type { Connection, Dial, DialOptions } from '../src/transport/transport.ts';

/** An `E…` code is a system error, as a transport reports it. */
type Conduct = 'accepts' | 'refuses' | 'hangs' | `E${string}`;

/** Dials whose results the test sets, by address; `hangs` uses up the time that it was given. */
function network(responses: Record<string, Conduct>) {
  const dialled: { address: string; timeoutMs: number }[] = [];
  let waitedMs = 0;
  return { dialled, seen: () => dialled.map(({ address }) => address), dial, waited: () => waitedMs };

  function dial(to: { host: string; port: number }, { timeoutMs }: DialOptions): Dial {
    const address = formatEndpoint(to);
    dialled.push({ address, timeoutMs });
    if (responses[address] === 'accepts') return settled(Promise.resolve(connectionTo(to)));
    if (responses[address] === 'refuses')
      return settled(Promise.reject(new ProxyError('CONNECT_REFUSED', `dial ${address}: ECONNREFUSED`)));
    if (responses[address]?.startsWith('E') === true)
      return settled(
        Promise.reject(new ProxyError('CONNECT_FAILED', `dial ${address}`, { cause: systemError(responses[address]) })),
      );
    waitedMs += timeoutMs;
    let cut: Dial['cut'] = () => undefined;
    const done = new Promise<Connection>((_resolve, reject) => {
      const onTimeout = (): void => reject(new ProxyError('CONNECT_TIMEOUT', `dial ${address}: no answer`));
      const timer = setTimeout(onTimeout, timeoutMs);
      cut = (reason) => (clearTimeout(timer), reject(reason));
    });
    return { done, cut };
  }
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function settled(done: Promise<Connection>): Dial {
  return { done, cut: () => undefined };
}

function connectionTo(remote: { host: string; port: number }): Connection {
  return {
    remote,
    local: remote,
    onReset: undefined,
    read: () => Promise.resolve(undefined),
    write: () => Promise.resolve(),
    destroy: () => undefined,
  };
}

function backend(host: string, healthy = true): Backend {
  return { address: { host, port: 1 }, weight: 1, healthy };
}

function route(backends: readonly Backend[], more: Partial<Route> = {}): Route {
  return { name: 'r', serverNames: ['a.example'], backends, ...more };
}

const accepted = { id: '1', listener: 'l', remote: { host: '::1', port: 1 }, local: { host: '::1', port: 2 }, at: 0 };
const hello = { protocol: 'tls' };

function harness(
  responses: Record<string, Conduct>,
  names: Record<string, readonly string[] | Promise<readonly string[]>> = {},
  more: Pick<ConnectorOptions, 'balances' | 'failover' | 'health' | 'prefer' | 'share'> = {},
) {
  const events: ProxyEvent[] = [];
  const observer = { observe: (event: ProxyEvent) => void events.push(event) };
  const net = network(responses);
  const outliers = new Outliers(observer, { consecutiveFailures: 1, baseEjectionMs: 60_000, maxEjectionMs: 60_000 });
  const resolve = (host: string) => {
    const hosts = names[host];
    if (hosts === undefined) return Promise.reject(new Error('ENOTFOUND'));
    return Promise.resolve(hosts).then((found) => ({ hosts: found, ttlSeconds: 60 }));
  };
  const addresses = new AddressBook(observer, { resolve });
  const connector = balancedConnector({
    addresses,
    outliers,
    observer,
    limits: { connectTimeoutMs: 1_000, dials: 5 },
    isOwn: ({ host }) => host === '10.0.0.99',
    keepAlive: { idleMs: 1 },
    random: () => 0,
    ...more,
  });
  let connecting: Connecting | undefined;
  const connect = (to: Route, dial?: ConnectContext['dial']): Promise<Upstream> => {
    connecting = new Connecting({ transport: net, observer }, accepted, hello);
    connecting.route = to;
    return connector.connect(to, dial === undefined ? connecting : withDial(connecting, dial));
  };
  const abandon = (reason: ProxyError): void => connecting?.abandon(reason);
  return { connect, abandon, attempts: () => connecting?.attempts, latest: () => connecting, events, outliers, ...net };
}

afterEach(() => void vi.useRealTimers());

describe('connecting', () => {
  it('reaches a healthy backend at the first dial', async () => {
    const { connect, attempts, seen } = harness({ '10.0.0.1:1': 'accepts' });
    expect(await connect(route([backend('10.0.0.1')]))).toMatchObject({ address: { host: '10.0.0.1' } });
    expect(attempts()).toBe(1);
    expect(seen()).toEqual(['10.0.0.1:1']);
  });

  it('tries the next backend when one refuses, and reports the failed dial', async () => {
    const { connect, attempts, events } = harness({ '10.0.0.1:1': 'refuses', '10.0.0.2:1': 'accepts' });
    const upstream = await connect(route([backend('10.0.0.1'), backend('10.0.0.2')]));
    expect(upstream).toMatchObject({ address: { host: '10.0.0.2' } });
    expect(attempts()).toBe(2);
    expect(events.filter(({ type }) => type === 'dial.failed')).toHaveLength(1);
  });

  it('does not dial an unhealthy backend while a healthy one is left', async () => {
    const { connect, seen } = harness({ '10.0.0.1:1': 'accepts', '10.0.0.2:1': 'accepts' });
    for (let i = 0; i < 4; i += 1) await connect(route([backend('10.0.0.1', false), backend('10.0.0.2')]));
    expect(new Set(seen())).toEqual(new Set(['10.0.0.2:1']));
  });

  it('dials unhealthy backends when nothing else is left', async () => {
    const { connect, attempts } = harness({ '10.0.0.1:1': 'accepts', '10.0.0.2:1': 'refuses' });
    await connect(route([backend('10.0.0.1', false), backend('10.0.0.2')]));
    expect(attempts()).toBe(2);
    await connect(route([backend('10.0.0.1', false)]));
    expect(attempts()).toBe(1);
  });

  it('avoids an ejected backend while another responds, and dials it when none does', async () => {
    const { connect, outliers, dialled, seen } = harness({ '10.0.0.1:1': 'refuses', '10.0.0.2:1': 'accepts' });
    const both = route([backend('10.0.0.1'), backend('10.0.0.2')]);
    await connect(both);
    expect(outliers.isEjected({ host: '10.0.0.1', port: 1 })).toBe(true);
    dialled.length = 0;
    await connect(both);
    expect(seen()).toEqual(['10.0.0.2:1']);
    await expect(connect(route([backend('10.0.0.1')]))).rejects.toMatchObject({ code: 'CONNECT_REFUSED' });
  });

  it('dials a backup only when no healthy backend of a lower priority can be reached', async () => {
    const { connect, seen, dialled } = harness({
      '10.0.0.1:1': 'accepts',
      '10.0.0.2:1': 'refuses',
      '10.0.0.9:1': 'accepts',
    });
    const backup: Backend = { ...backend('10.0.0.9'), priority: 1 };
    for (let i = 0; i < 3; i += 1) await connect(route([backup, backend('10.0.0.1')]));
    expect(new Set(seen())).toEqual(new Set(['10.0.0.1:1']));
    dialled.length = 0;
    await connect(route([backup, backend('10.0.0.2'), backend('10.0.0.1', false)]));
    expect(seen()).toEqual(['10.0.0.2:1', '10.0.0.9:1']);
    dialled.length = 0;
    await connect(route([backup, backend('10.0.0.2')]));
    expect(seen()).toEqual(['10.0.0.9:1']);
  });

  it('gives one that hangs half of the remaining time, and the last one all of it', async () => {
    vi.useFakeTimers();
    const { connect, dialled } = harness({ '10.0.0.1:1': 'hangs', '10.0.0.2:1': 'hangs' });
    const both = route([backend('10.0.0.1'), backend('10.0.0.2')], { connectTimeoutMs: 40 });
    const failing = expect(connect(both)).rejects.toMatchObject({ code: 'CONNECT_TIMEOUT' });
    await vi.advanceTimersByTimeAsync(40);
    await failing;
    expect(dialled.map(({ timeoutMs }) => timeoutMs)).toEqual([20, 20]);
  });

  it('reports that a route has no backend', async () => {
    await expect(harness({}).connect(route([]))).rejects.toMatchObject({
      code: 'NO_BACKEND',
      message: 'route r has no backend',
    });
  });

  it('reports why the last of many dials failed', async () => {
    const { connect } = harness({ '10.0.0.1:1': 'refuses', '10.0.0.2:1': 'refuses' });
    await expect(connect(route([backend('10.0.0.1'), backend('10.0.0.2')]))).rejects.toMatchObject({
      code: 'CONNECT_REFUSED',
    });
  });

  it('tries every address of a name before the next backend', async () => {
    const names = { db: ['10.0.0.1', '::9'] };
    const { connect, attempts, seen } = harness({ '10.0.0.1:1': 'refuses', '[::9]:1': 'accepts' }, names);
    await connect(route([backend('db')]));
    expect(attempts()).toBe(2);
    expect(seen()).toEqual(['10.0.0.1:1', '[::9]:1']);
  });

  it('goes to the next backend when a name has no address', async () => {
    const { connect, events } = harness({ '10.0.0.2:1': 'accepts' });
    expect((await connect(route([backend('nowhere'), backend('10.0.0.2')]))).address.host).toBe('10.0.0.2');
    expect(events.map(({ type }) => type)).toContain('dial.failed');
  });

  it('stops at once, with the reason, when the client disconnects', async () => {
    const { connect, abandon, outliers } = harness({ '10.0.0.1:1': 'hangs', '10.0.0.2:1': 'accepts' });
    const connecting = connect(route([backend('10.0.0.1'), backend('10.0.0.2')]));
    abandon(new ProxyError('DOWNSTREAM_RESET', 'gone'));
    await expect(connecting).rejects.toMatchObject({ code: 'DOWNSTREAM_RESET' });
    expect(outliers.ejected).toBe(0);
  });

  it('stops at once, with the reason, when the client disconnects while a name is being resolved', async () => {
    const { connect, abandon, seen } = harness({}, { db: new Promise(() => undefined) });
    const connecting = connect(route([backend('db')]));
    abandon(new ProxyError('DOWNSTREAM_RESET', 'gone'));
    await expect(connecting).rejects.toMatchObject({ code: 'DOWNSTREAM_RESET' });
    expect(seen()).toEqual([]);
  });

  it('counts a connection until it is released', async () => {
    const { connect, seen } = harness({ '10.0.0.1:1': 'accepts', '10.0.0.2:1': 'accepts' });
    const both = route([backend('10.0.0.1'), backend('10.0.0.2')], { balance: 'least_connections' });
    const first = await connect(both);
    first.release({ bytesUp: 0, bytesDown: 0 });
    await connect(both);
    expect(seen()).toEqual(['10.0.0.1:1', '10.0.0.1:1']);
  });
});

describe('a backend with several addresses, dialled through a layer', () => {
  const hosts = ['10.0.0.1', '10.0.0.2'];
  const to = route([backend('api.test')]);

  it('that connects after its dial was cut has that connection closed', async () => {
    vi.useFakeTimers();
    const { connect } = harness({}, { 'api.test': hosts });
    const connected: ((connection: Connection) => void)[] = [];
    const connecting = connect(to, () => ({
      done: new Promise((resolve) => connected.push(resolve)),
      cut: () => undefined,
    }));
    await vi.advanceTimersByTimeAsync(250);
    const slow = { ...connectionTo({ host: '10.0.0.1', port: 1 }), destroy: vi.fn() };
    connected[1]?.(connectionTo({ host: '10.0.0.2', port: 1 }));
    expect(await connecting).toMatchObject({ address: { host: '10.0.0.2' } });
    connected[0]?.(slow);
    await vi.advanceTimersByTimeAsync(0);
    expect(slow.destroy).toHaveBeenCalledOnce();
  });

  it('that throws instead of dialling fails the connect', async () => {
    const { connect } = harness({}, { 'api.test': hosts });
    const dial = (): never => {
      throw new Error('a bug');
    };
    await expect(connect(to, dial)).rejects.toThrow('a bug');
  });
});

describe('a name with addresses of two families', () => {
  const names = { db: ['::9', '10.0.0.1'] };

  it('is dialled at no address that is down by its checks, whether its name was just resolved or is cached', async () => {
    const healthCheck = { kind: 'tcp', intervalMs: 1_000, timeoutMs: 500, rise: 1, fall: 1 } as const;
    const health = new BackendHealth();
    health.mark({ key: healthKey(healthCheck, { host: '10.0.0.1', port: 1 }), state: 'down', forMs: 0 });
    const hosts = ['10.0.0.1', '10.0.0.2'];
    const { connect, seen } = harness({ '10.0.0.1:1': 'accepts', '10.0.0.2:1': 'accepts' }, { db: hosts }, { health });
    for (let turn = 0; turn < 4; turn += 1) await connect(route([backend('db')], { healthCheck }));
    expect(seen()).toEqual(Array.from({ length: 4 }, () => '10.0.0.2:1'));
  });

  it('has its second address dialled after a quarter of a second, and the slower dial cancelled', async () => {
    vi.useFakeTimers();
    const { connect, seen, outliers } = harness({ '[::9]:1': 'hangs', '10.0.0.1:1': 'accepts' }, names);
    const connecting = connect(route([backend('db')]));
    await vi.advanceTimersByTimeAsync(249);
    expect(seen()).toEqual(['[::9]:1']);
    await vi.advanceTimersByTimeAsync(1);
    expect((await connecting).address.host).toBe('10.0.0.1');
    expect(outliers.ejected).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('has the unresponsive family tried second from then on', async () => {
    vi.useFakeTimers();
    const { connect, seen, dialled } = harness({ '[::9]:1': 'hangs', '10.0.0.1:1': 'accepts' }, names);
    const db = route([backend('db')]);
    const first = connect(db);
    await vi.advanceTimersByTimeAsync(250);
    await first;
    dialled.length = 0;
    for (let i = 0; i < 4; i += 1) await connect(db);
    expect(new Set(seen())).toEqual(new Set(['10.0.0.1:1']));
  });

  it('has the unresponsive family reported once', async () => {
    vi.useFakeTimers();
    const { connect, events } = harness({ '[::9]:1': 'hangs', '10.0.0.1:1': 'accepts' }, names);
    const db = route([backend('db')]);
    for (let i = 0; i < 3; i += 1) {
      const connecting = connect(db);
      await vi.advanceTimersByTimeAsync(250);
      await connecting;
    }
    expect(events.filter(({ type }) => type === 'path.impaired')).toEqual([
      {
        type: 'path.impaired',
        problem: 'family',
        side: 'upstream',
        address: { host: '::9', port: 1 },
        reason: 'IPv6 does not respond, preferring IPv4 (10.0.0.1:1) for 10 min: the network may drop IPv6',
      },
    ]);
  });

  it('ejects no backend when this machine has no route to one family', async () => {
    const { connect, outliers } = harness({ '[::9]:1': 'ENETUNREACH', '10.0.0.1:1': 'accepts' }, names);
    for (let i = 0; i < 6; i += 1) await connect(route([backend('db')]));
    expect(outliers.ejected).toBe(0);
  });

  it('is dialled at both when the first hangs, until one deadline for all', async () => {
    vi.useFakeTimers();
    const { connect, attempts } = harness({ '[::9]:1': 'hangs', '10.0.0.1:1': 'hangs' }, names);
    const failing = expect(connect(route([backend('db')]))).rejects.toMatchObject({ code: 'CONNECT_TIMEOUT' });
    await vi.advanceTimersByTimeAsync(1_000);
    await failing;
    expect(attempts()).toBe(2);
  });

  it('leaves no dial behind when the client disconnects', async () => {
    vi.useFakeTimers();
    const { connect, abandon, outliers } = harness({ '[::9]:1': 'hangs', '10.0.0.1:1': 'hangs' }, names);
    const failing = expect(connect(route([backend('db')]))).rejects.toMatchObject({ code: 'DOWNSTREAM_RESET' });
    await vi.advanceTimersByTimeAsync(300);
    abandon(new ProxyError('DOWNSTREAM_RESET', 'gone'));
    await failing;
    outliers.clear();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('the work for one connection', () => {
  const dead = Array.from({ length: 200 }, (_, index) => backend(`10.0.1.${index}`));
  const refusing = Object.fromEntries(dead.map(({ address }) => [formatEndpoint(address), 'refuses' as const]));

  it('is bounded: five dials of two hundred dead backends', async () => {
    const { connect, dialled } = harness(refusing);
    await expect(connect(route(dead))).rejects.toMatchObject({
      code: 'CONNECT_REFUSED',
      message: expect.stringMatching(/ECONNREFUSED; 5 dials were made, 195 more backends not tried$/),
    });
    expect(dialled).toHaveLength(5);
  });

  it('stays bounded when all of them are ejected', async () => {
    const { connect, dialled, outliers } = harness(refusing);
    for (const { address } of dead) outliers.failed(address);
    expect(outliers.ejected).toBe(200);
    await Promise.allSettled(Array.from({ length: 50 }, () => connect(route(dead))));
    expect(dialled.length).toBeLessThanOrEqual(250);
  });

  it('is shared: an ejected backend is dialled by one of many connections at a time', async () => {
    const { connect, dialled } = harness({ '10.0.0.1:1': 'refuses' });
    const one = route([backend('10.0.0.1')]);
    await expect(connect(one)).rejects.toMatchObject({ code: 'CONNECT_REFUSED' });
    dialled.length = 0;
    const results = await Promise.allSettled(Array.from({ length: 50 }, () => connect(one)));
    expect(results.every(({ status }) => status === 'rejected')).toBe(true);
    expect(dialled).toHaveLength(1);
  });

  it('is waited for no longer than a backend may take, even if another connection has more time to dial it', async () => {
    vi.useFakeTimers();
    const { connect, outliers, abandon } = harness({ '10.0.0.1:1': 'hangs', '10.0.0.2:1': 'accepts' });
    for (const host of ['10.0.0.1', '10.0.0.2']) outliers.failed({ host, port: 1 });
    const patient = connect(route([backend('10.0.0.1')], { connectTimeoutMs: 60_000 }));
    patient.catch(() => undefined);
    const other = connect(route([backend('10.0.0.1'), backend('10.0.0.2')]));
    other.catch(() => undefined);
    await vi.advanceTimersByTimeAsync(900);
    expect(await other).toMatchObject({ address: { host: '10.0.0.2' } });
    abandon(new ProxyError('DOWNSTREAM_RESET', 'gone'));
    outliers.clear();
  });

  it('serves all waiting clients once an ejected backend is back', async () => {
    const responses: Record<string, Conduct> = { '10.0.0.1:1': 'refuses' };
    const { connect, outliers } = harness(responses);
    const one = route([backend('10.0.0.1')]);
    await connect(one).catch(() => undefined);
    responses['10.0.0.1:1'] = 'accepts';
    const results = await Promise.allSettled(Array.from({ length: 50 }, () => connect(one)));
    expect(results.every(({ status }) => status === 'fulfilled')).toBe(true);
    expect(outliers.ejected).toBe(0);
  });

  it('keeps dialling an ejected backend for the waiting clients when the client that started the dial disconnects', async () => {
    const responses: Record<string, Conduct> = { '10.0.0.1:1': 'refuses' };
    const { connect, latest } = harness(responses);
    const one = route([backend('10.0.0.1')]);
    await connect(one).catch(() => undefined);
    responses['10.0.0.1:1'] = 'hangs';
    const first = expect(connect(one)).rejects.toMatchObject({ code: 'DOWNSTREAM_RESET' });
    const firstOfTwo = latest();
    const second = connect(one);
    responses['10.0.0.1:1'] = 'accepts';
    firstOfTwo?.abandon(new ProxyError('DOWNSTREAM_RESET', 'gone'));
    await first;
    expect((await second).address.host).toBe('10.0.0.1');
  });
});

describe('a failure that does not count against the address', () => {
  it.each(['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS', 'ENOMEM', 'EPERM', 'EACCES', 'EINVAL'] as const)(
    'is local when the system reports %s: no backend is ejected',
    async (code) => {
      const { connect, outliers, events } = harness({ '10.0.0.1:1': code });
      for (let i = 0; i < 5; i += 1)
        await expect(connect(route([backend('10.0.0.1')]))).rejects.toMatchObject({
          code: 'LOCAL_RESOURCE',
          side: 'proxy',
        });
      expect(outliers.ejected).toBe(0);
      expect(events.every((event) => event.type === 'dial.failed' && event.error.code === 'LOCAL_RESOURCE')).toBe(true);
    },
  );

  it('is a loop when the address is our own: it is not dialled, and another backend is', async () => {
    const { connect, seen, outliers } = harness({ '10.0.0.1:1': 'accepts', '10.0.0.99:1': 'accepts' });
    await expect(connect(route([backend('10.0.0.99')]))).rejects.toMatchObject({
      code: 'LOOP_DETECTED',
      side: 'proxy',
    });
    await connect(route([backend('10.0.0.99'), backend('10.0.0.1')]));
    expect(seen()).toEqual(['10.0.0.1:1']);
    expect(outliers.ejected).toBe(0);
  });
});

describe('a client that disconnects while a backend is dialled', () => {
  it.each([
    [249, 0],
    [251, 1],
  ])('after %i ms of 1 s: %i failures of the backend', async (afterMs, failures) => {
    vi.useFakeTimers();
    const { connect, abandon, events, outliers } = harness({ '10.0.0.1:1': 'hangs' });
    const failing = expect(connect(route([backend('10.0.0.1')]))).rejects.toMatchObject({ code: 'DOWNSTREAM_RESET' });
    await vi.advanceTimersByTimeAsync(afterMs);
    abandon(new ProxyError('DOWNSTREAM_RESET', 'gone'));
    await failing;
    expect(outliers.ejected).toBe(failures);
    const failed = events.flatMap((event) => (event.type === 'dial.failed' ? [event.error] : []));
    expect(failed).toHaveLength(failures);
    if (failures > 0)
      expect(failed[0]?.message).toBe('dial 10.0.0.1:1: no response for 251 ms, then the client disconnected');
  });

  it('does not count as a failure of the backend when the proxy itself ended the connection', async () => {
    vi.useFakeTimers();
    const { connect, abandon, outliers } = harness({ '10.0.0.1:1': 'hangs' });
    const failing = expect(connect(route([backend('10.0.0.1')]))).rejects.toMatchObject({ code: 'CLOSED_BY_DRAIN' });
    await vi.advanceTimersByTimeAsync(900);
    abandon(new ProxyError('CLOSED_BY_DRAIN', 'drain'));
    await failing;
    expect(outliers.ejected).toBe(0);
  });
});

describe('backends with labels', () => {
  const at = (host: string, labels: Record<string, string>, more: Partial<Backend> = {}): Backend => {
    return { ...backend(host), labels, ...more };
  };
  const prefer = { region: 'eu', zone: 'a' };

  it('are used first when they have the preferred ones, the first label before the second', async () => {
    const all = [at('10.0.0.1', { zone: 'a', region: 'us' }), at('10.0.0.2', { region: 'eu' })];
    const net = harness({ '10.0.0.1:1': 'refuses', '10.0.0.2:1': 'refuses', '10.0.0.3:1': 'refuses' }, {}, { prefer });
    const nearest = at('10.0.0.3', { region: 'eu', zone: 'a' });
    await expect(net.connect(route([...all, nearest]))).rejects.toMatchObject({ code: 'CONNECT_REFUSED' });
    expect(net.seen()).toEqual(['10.0.0.3:1', '10.0.0.2:1', '10.0.0.1:1']);
  });

  it('rank after a lower priority and after health', async () => {
    const all = [
      at('10.0.0.1', { region: 'eu' }, { healthy: false }),
      at('10.0.0.2', { region: 'eu' }, { priority: 1 }),
    ];
    const net = harness({ '10.0.0.1:1': 'refuses', '10.0.0.2:1': 'refuses', '10.0.0.3:1': 'refuses' }, {}, { prefer });
    await expect(net.connect(route([...all, backend('10.0.0.3')]))).rejects.toMatchObject({ code: 'CONNECT_REFUSED' });
    expect(net.seen()).toEqual(['10.0.0.3:1', '10.0.0.2:1', '10.0.0.1:1']);
  });

  it('are all equal to a gateway without preferences', async () => {
    const net = harness({ '10.0.0.1:1': 'accepts', '10.0.0.2:1': 'accepts' });
    const balanced = route([at('10.0.0.1', { zone: 'a' }), at('10.0.0.2', { zone: 'b' })]);
    for (let turn = 0; turn < 4; turn += 1) await net.connect(balanced);
    expect(new Set(net.seen()).size).toBe(2);
  });
});

describe('the balance of a plugin', () => {
  const use = { name: 'last', settings: {} };
  const both = [backend('10.0.0.1'), backend('10.0.0.2')];
  const responses = { '10.0.0.1:1': 'accepts', '10.0.0.2:1': 'accepts' } as const;

  it('chooses among the backends, by the client and its load', async () => {
    const seen: unknown[] = [];
    const make: BalanceFactory = (settings, { load }) => ({
      pick(from, { connection, hello: { protocol } }) {
        seen.push([settings, connection.remote.host, protocol, from.map(load)]);
        return from.at(-1) as Backend;
      },
    });
    const net = harness(responses, {}, { balances: new Map([['last', make]]) });
    const to = route(both, { balance: { name: 'last', settings: { key: 1 } } });
    await net.connect(to);
    const second = await net.connect(to);
    second.release({ bytesUp: 0, bytesDown: 0 });
    await net.connect(to);
    expect(net.seen()).toEqual(['10.0.0.2:1', '10.0.0.2:1', '10.0.0.2:1']);
    expect(seen).toEqual(
      [
        [0, 0],
        [0, 1],
        [0, 1],
      ].map((loads) => [{ key: 1 }, '::1', 'tls', loads]),
    );
  });

  it('sees connections that are being dialled, and no longer those that have failed', async () => {
    vi.useFakeTimers();
    const seen: unknown[] = [];
    const make: BalanceFactory = (_settings, { load }) => ({
      pick(from) {
        seen.push(from.map(load));
        return from[0] as Backend;
      },
    });
    const net = harness(
      { '10.0.0.1:1': 'hangs', '10.0.0.2:1': 'refuses' },
      {},
      { balances: new Map([['last', make]]) },
    );
    const outcomes = [1, 2].map(() => net.connect(route(both, { balance: use })).catch(() => undefined));
    await vi.advanceTimersByTimeAsync(2_000);
    await Promise.all(outcomes);
    void net.connect(route(both, { balance: use })).catch(() => undefined);
    expect(seen).toEqual([
      [0, 0],
      [1, 0],
      [0, 0],
    ]);
  });

  it('may modify its list of backends', async () => {
    const make: BalanceFactory = () => ({
      pick: (from) => (from as Backend[]).toReversed().concat((from as Backend[]).splice(0))[0] as Backend,
    });
    const net = harness(responses, {}, { balances: new Map([['last', make]]) });
    const to = route([...both], { balance: use });
    await net.connect(to);
    await net.connect(to);
    expect([net.seen(), to.backends]).toEqual([['10.0.0.2:1', '10.0.0.2:1'], both]);
  });

  it.each<[string, BalanceFactory | undefined]>([
    [
      'throws',
      () => ({
        pick: () => {
          throw new Error('a bug');
        },
      }),
    ],
    [
      'throws when it is made',
      () => {
        throw new Error('wrong settings');
      },
    ],
    ['chooses a backend of its own', () => ({ pick: () => backend('10.0.0.3') })],
    ['chooses none', () => ({ pick: () => undefined as never })],
    ['answers later', () => ({ pick: () => Promise.resolve(both[0]) as never })],
    ['is no picker', () => undefined as never],
    ['is not there', undefined],
  ])('that %s fails no connection', async (_, make) => {
    const balances = new Map(make === undefined ? [] : [['last', make]]);
    const net = harness(responses, {}, { balances });
    const upstream = await net.connect(route(both, { balance: use }));
    expect(both).toContain(upstream.backend);
    const [failure] = net.events;
    expect(failure).toMatchObject({ type: 'balance.failed', balance: 'last', route: { name: 'r' } });
  });
});

describe('failover', () => {
  const failover = { minHealthy: 2, returnAfterMs: 10_000 };
  const backup = (host: string, priority = 1): Backend => ({ ...backend(host), priority });
  const accepting = Object.fromEntries(
    Array.from({ length: 9 }, (_, index) => [`10.0.0.${index + 1}:1`, 'accepts' as const]),
  );

  const withHealthy = (healthy: number, more: Partial<Route> = {}): Route => {
    const primaries = [1, 2, 3].map((index) => backend(`10.0.0.${index}`, index <= healthy));
    return route([...primaries, backup('10.0.0.8')], { failover, ...more });
  };

  it('switches to the next group as soon as too few of a group are healthy, and reports it once', async () => {
    const net = harness(accepting);
    await net.connect(withHealthy(2));
    await net.connect(withHealthy(1));
    await net.connect(withHealthy(1));
    expect(net.seen()).toEqual([expect.stringMatching(/^10\.0\.0\.[12]:1$/), '10.0.0.8:1', '10.0.0.8:1']);
    expect(net.events.filter(({ type }) => type === 'route.failover')).toMatchObject([{ priority: 1, previous: 0 }]);
  });

  it('returns when a group has had enough healthy backends for long enough, over reloads too', async () => {
    vi.useFakeTimers();
    const net = harness(accepting);
    await net.connect(withHealthy(1));
    await net.connect(withHealthy(3));
    vi.advanceTimersByTime(9_000);
    await net.connect(withHealthy(3));
    await net.connect(withHealthy(1));
    await net.connect(withHealthy(3));
    vi.advanceTimersByTime(9_999);
    await net.connect(withHealthy(3));
    expect(new Set(net.seen())).toEqual(new Set(['10.0.0.8:1']));
    vi.advanceTimersByTime(1);
    expect((await net.connect(withHealthy(3))).address.host).toMatch(/^10\.0\.0\.[123]$/);
    const changes = net.events.filter(({ type }) => type === 'route.failover');
    expect(changes).toMatchObject([{ priority: 1 }, { priority: 0, previous: 1 }]);
  });

  it('reports which groups are held back, and for how much longer', async () => {
    vi.useFakeTimers();
    const groups = new FailoverGroups({ observe: () => undefined });
    const net = harness(accepting, {}, { failover: groups });
    await net.connect(withHealthy(3));
    expect(groups.held).toEqual([]);
    await net.connect(withHealthy(1));
    vi.advanceTimersByTime(60_000);
    expect(groups.held).toEqual([{ route: 'r', priority: 0, forMs: 10_000 }]);
    await net.connect(withHealthy(3));
    vi.advanceTimersByTime(4_000);
    expect(groups.held).toEqual([{ route: 'r', priority: 0, forMs: 6_000 }]);
    vi.advanceTimersByTime(6_000);
    expect(groups.held).toEqual([]);
  });

  it('uses the rest of the first group when the next one cannot be reached', async () => {
    const net = harness({ ...accepting, '10.0.0.8:1': 'refuses' });
    expect((await net.connect(withHealthy(1))).address.host).toBe('10.0.0.1');
    expect(net.seen()).toEqual(['10.0.0.8:1', '10.0.0.1:1']);
  });

  it('starts with the lowest group when none has enough', async () => {
    const net = harness(accepting);
    const few = [
      backend('10.0.0.1'),
      backend('10.0.0.2', false),
      backup('10.0.0.8'),
      { ...backup('10.0.0.9'), healthy: false },
    ];
    expect((await net.connect(route(few, { failover }))).address.host).toBe('10.0.0.1');
  });

  it('needs all of a group that is smaller than the minimum', async () => {
    const net = harness(accepting);
    const small = [backend('10.0.0.1'), backup('10.0.0.8'), backup('10.0.0.9')];
    expect((await net.connect(route(small, { failover: { minHealthy: 5 } }))).address.host).toBe('10.0.0.1');
  });

  it('counts ejected backends as lost', async () => {
    const net = harness(accepting);
    net.outliers.failed({ host: '10.0.0.1', port: 1 });
    net.outliers.failed({ host: '10.0.0.2', port: 1 });
    expect((await net.connect(withHealthy(3))).address.host).toBe('10.0.0.8');
  });

  it('keeps each route separate', async () => {
    const net = harness(accepting);
    await net.connect(withHealthy(1));
    expect((await net.connect(withHealthy(3, { name: 'other' }))).address.host).toMatch(/^10\.0\.0\.[123]$/);
  });
});

describe('a limit of connections to one backend', () => {
  const accepting = { '10.0.0.1:1': 'accepts', '10.0.0.2:1': 'accepts', '10.0.0.8:1': 'accepts' } as const;
  const backends = [backend('10.0.0.1'), backend('10.0.0.2'), { ...backend('10.0.0.8'), priority: 1 }];
  const limited = (perBackend: number, more: Partial<Route> = {}): Route =>
    route(backends, { limits: { perBackend }, ...more });

  it.each([
    [4, 1, 4],
    [4, 0.5, 2],
    [5, 0.5, 2],
    [3, 0.25, 1],
    [1, 0.25, 1],
  ])(
    'of %i is, with a share of %d, one of %i in this process, then come backups, then the refusal',
    async (perBackend, share, each) => {
      const net = harness(accepting, {}, { share });
      for (let index = 0; index < 3 * each; index += 1) await net.connect(limited(perBackend));
      const counts = ['10.0.0.1', '10.0.0.2', '10.0.0.8'].map(
        (host) => net.seen().filter((address) => address === `${host}:1`).length,
      );
      expect(counts).toEqual([each, each, each]);
      expect(new Set(net.seen().slice(0, 2 * each))).not.toContain('10.0.0.8:1');
      await expect(net.connect(limited(perBackend))).rejects.toMatchObject({ code: 'LIMIT_REACHED' });
    },
  );

  it('counts existing connections when a snapshot changes it, and each route separately', async () => {
    const net = harness(accepting);
    for (const _ of backends) await net.connect(limited(1));
    await expect(net.connect(limited(1))).rejects.toMatchObject({ code: 'LIMIT_REACHED' });
    expect((await net.connect(limited(2))).backend.priority).toBeUndefined();
    await expect(net.connect(limited(1))).rejects.toMatchObject({ code: 'LIMIT_REACHED' });
    expect((await net.connect(limited(1, { name: 'other' }))).backend.priority).toBeUndefined();
  });
});

describe('a route with retryBeforeFirstByte', () => {
  const SILENT = { bytesUp: 100, bytesDown: 0 };
  const retrying = (backends: readonly Backend[]): Route => route(backends, { retryBeforeFirstByte: true });

  it('returns an upstream with a retry, until nothing is left to try', async () => {
    const { connect, seen } = harness({ '10.0.0.1:1': 'accepts', '10.0.0.2:1': 'accepts' });
    const first = await connect(retrying([backend('10.0.0.1'), backend('10.0.0.2')]));
    const second = await first.retry?.reach(SILENT);
    expect(second?.retry).toBeUndefined();
    expect(seen().toSorted()).toEqual(['10.0.0.1:1', '10.0.0.2:1']);
  });

  it('tries the other addresses of a name when no other backend is left, each once', async () => {
    const { connect, seen } = harness(
      { '10.0.0.1:1': 'accepts', '10.0.0.2:1': 'accepts', '10.0.0.3:1': 'accepts' },
      { name: ['10.0.0.1', '10.0.0.2'] },
    );
    let upstream: Upstream | undefined = await connect(retrying([backend('name'), backend('10.0.0.3')]));
    while (upstream?.retry !== undefined) upstream = await upstream.retry.reach(SILENT);
    expect(seen().toSorted()).toEqual(['10.0.0.1:1', '10.0.0.2:1', '10.0.0.3:1']);
  });

  it('ends with UPSTREAM_RESET, which says how the backend ended, when nothing else can even be dialled', async () => {
    const { connect } = harness({ '10.0.0.1:1': 'accepts' }, { name: [] });
    const backends = [backend('10.0.0.1'), { ...backend('nobody'), priority: 1 }];
    const { retry } = await connect(retrying(backends));
    const error = await retry?.reach(SILENT).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED' });
    const { connect: again } = harness({ '10.0.0.1:1': 'accepts' }, { empty: [] });
    const { retry: other } = await again(retrying([backend('10.0.0.1'), { ...backend('empty'), priority: 1 }]));
    const failure = await other?.reach(SILENT).catch((reason: unknown) => reason);
    expect(failure).toMatchObject({
      code: 'UPSTREAM_RESET',
      message: '10.0.0.1:1 finished before its first byte',
    });
  });

  it('does not increase the size of an upstream of another route', async () => {
    const { connect } = harness({ '10.0.0.1:1': 'accepts' });
    expect(Object.keys(await connect(route([backend('10.0.0.1'), backend('10.0.0.2')])))).not.toContain('retry');
  });
});
