import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { ConfigProblems, createProxy, staticSource } from '@meshgate/core';
import type { ConnectionFilter, ProxyOptions, Route, RouteSource, Service } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';
import { clientHello, inRecords, rawClient, recorder, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { TlsTestBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

const LOOPBACK = { host: '127.0.0.1', port: 0 };

function routeTo({ address }: TlsTestBackend): Route {
  return { name: 'api', serverNames: ['api.example.com'], backends: [{ address, weight: 1, healthy: true }] };
}

function options(more: Partial<ProxyOptions> = {}): ProxyOptions {
  return { listen: LOOPBACK, routes: [], sniffers: [sniSniffer()], ...more };
}

/** Sockets of this process: listening and connected. */
function sockets(): readonly string[] {
  return process.getActiveResourcesInfo().filter((kind) => kind.startsWith('TCP'));
}

/** A service that records when it starts and stops. */
function service(name: string, log: string[], start = async (): Promise<void> => undefined): Service {
  return {
    name,
    async start() {
      await start();
      log.push(`${name} started`);
    },
    stop: () => Promise.resolve(void log.push(`${name} stopped`)),
  };
}

describe('a proxy made by createProxy', () => {
  it('carries TLS to the backend of the matching route', async () => {
    await using api = await tlsBackend('api.example.com');
    const proxy = createProxy(options({ routes: [routeTo(api)] }));
    await proxy.start();
    await using client = await tlsClient(proxy.address, 'api.example.com', { ca: api.ca });
    expect(await client.echo('hello')).toBe('hello');
    client.end();
    await proxy.stop();
  });

  it('calls resolvers before routes, and connects to backends through its layers, the first outermost', async () => {
    await using api = await tlsBackend('api.example.com');
    const order: string[] = [];
    const proxy = createProxy(
      options({
        resolvers: [{ resolve: ({ serverName }) => (serverName === 'api.example.com' ? routeTo(api) : undefined) }],
        layers: ['outer', 'inner'].map((name) => (next) => ({
          connect(route, context) {
            order.push(name);
            return next.connect(route, context);
          },
        })),
      }),
    );
    await proxy.start();
    await using client = await tlsClient(proxy.address, 'api.example.com', { ca: api.ca });
    expect(await client.echo('hello')).toBe('hello');
    expect(order).toEqual(['outer', 'inner']);
    client.end();
    await proxy.stop();
  });

  it('wraps the connector of routes that use layers, created once per route, and fails closed for unknown ones', async () => {
    await using api = await tlsBackend('api.example.com');
    const made: unknown[] = [];
    const events = recorder();
    const route = { ...routeTo(api), use: [{ name: 'traced', settings: { depth: 3 } }] };
    const lost = { ...route, name: 'lost', serverNames: ['lost.example.com'], use: [{ name: 'gone', settings: {} }] };
    const proxy = createProxy(
      options({
        routes: [route, lost],
        observers: [events],
        routeLayers: {
          traced(settings) {
            made.push(settings);
            return (next) => next;
          },
        },
      }),
    );
    await proxy.start();
    for (const word of ['one', 'two']) {
      await using client = await tlsClient(proxy.address, 'api.example.com', { ca: api.ca });
      expect(await client.echo(word)).toBe(word);
    }
    expect(made).toEqual([{ depth: 3 }]);
    await expect(tlsClient(proxy.address, 'lost.example.com', { ca: api.ca })).rejects.toThrow();
    const { closed } = await events.until('connection.closed', (event) => event.closed.route?.name === 'lost');
    expect(closed.error).toMatchObject({
      code: 'INTERNAL',
      message: 'the route lost uses "gone", which no plugin offers',
    });
    await proxy.stop(AbortSignal.abort());
  });

  it('has filters before its sniffers, on every listener', async () => {
    await using api = await tlsBackend('api.example.com');
    const seen: string[] = [];
    const greeting: ConnectionFilter = {
      name: 'greeting',
      async filter(client) {
        const bytes = await client.peek(3);
        seen.push(Buffer.from(bytes.subarray(0, 3)).toString());
        client.consume(3);
        return undefined;
      },
    };
    const proxy = createProxy(options({ routes: [routeTo(api)], filters: [greeting] }));
    await proxy.start();
    await using client = await rawClient(proxy.address);
    await client.send(Buffer.concat([Buffer.from('HI\n'), inRecords(clientHello({ serverName: 'api.example.com' }))]));
    expect((await client.receive(1))[0]).toBe(0x16);
    expect(seen).toEqual(['HI\n']);
    client.end();
    await proxy.stop(AbortSignal.abort());
  });

  it('reports the addresses of its listeners, without those that are not bound', async () => {
    const listen = ['a', 'b'].map((name) => ({ name, endpoint: LOOPBACK }));
    const proxy = createProxy(options({ listen }));
    expect([proxy.address, proxy.addresses.size]).toEqual([LOOPBACK, 0]);
    await proxy.start();
    expect(proxy.address).toEqual(proxy.addresses.get('a'));
    expect(proxy.addresses.get('b')?.port).not.toBe(proxy.address.port);
    await proxy.stop();
    expect(proxy.addresses.size).toBe(0);
  });

  it('cleans up when its port is in use, and can be started again when it is free', async () => {
    // What an earlier test has closed is only gone after a turn of the event loop.
    await expect.poll(sockets).toEqual([]);
    const occupied = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => occupied.once('listening', resolve));
    const { port } = occupied.address() as AddressInfo;
    const log: string[] = [];
    const proxy = createProxy(
      options({
        listen: { host: '127.0.0.1', port },
        sources: [watched(log)],
        services: [service('registration', log)],
      }),
    );
    await expect(proxy.start()).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(log).toEqual(['registration started', 'watch began', 'watch ended', 'registration stopped']);
    await new Promise((resolve) => occupied.close(resolve));
    await expect.poll(sockets).toEqual([]);
    await proxy.start();
    expect(proxy.address.port).toBe(port);
    await proxy.stop();
    await expect.poll(sockets).toEqual([]);
  });

  it('stops the services that have started when one of them cannot', async () => {
    const log: string[] = [];
    const events = recorder();
    const broken = service('second', log, () => Promise.reject(new Error('no agent')));
    const proxy = createProxy(options({ services: [service('first', log), broken], observers: [events] }));
    await expect(proxy.start()).rejects.toThrow('no agent');
    expect(log).toEqual(['first started', 'first stopped']);
    expect(events.last('listener.opened')).toBeUndefined();
  });

  it('opens its port only once the first routes of a slow source are known', async () => {
    await using api = await tlsBackend('api.example.com');
    const events = recorder();
    let begin = (): void => undefined;
    let finish = (): void => undefined;
    const queried = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const parsed = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const slow: RouteSource = {
      name: 'slow',
      async *watch(signal) {
        begin();
        await parsed;
        yield { version: '1', routes: [routeTo(api)] };
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    };
    const proxy = createProxy(options({ sources: [slow], observers: [events] }));
    const started = proxy.start();
    await queried;
    await new Promise(setImmediate);
    expect(events.last('listener.opened')).toBeUndefined();
    finish();
    await started;
    const observed = events.events.map(({ type }) => type);
    expect(observed.indexOf('listener.opened')).toBeGreaterThan(observed.indexOf('routes.replaced'));
    await using client = await tlsClient(proxy.address, 'api.example.com', { ca: api.ca });
    expect(await client.echo('hello')).toBe('hello');
    client.end();
    await proxy.stop(AbortSignal.abort());
  });

  it('gives up starting when it is stopped meanwhile', async () => {
    const silent: RouteSource = {
      name: 'silent',
      // oxlint-disable-next-line require-yield -- it never knows anything
      async *watch(signal) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    };
    const proxy = createProxy(options({ sources: [silent] }));
    const started = proxy.start();
    const stopped = proxy.stop();
    await expect(started).rejects.toThrow('the proxy stops');
    await stopped;
  });

  it('waits for live connections when it is stopped, and closes them when the stop is forced', async () => {
    await using api = await tlsBackend('api.example.com');
    const events = recorder();
    const proxy = createProxy(options({ routes: [routeTo(api)], observers: [events], drain: { spreadMs: 0 } }));
    await proxy.start();
    await using client = await tlsClient(proxy.address, 'api.example.com', { ca: api.ca });
    await client.echo('hello');
    const forced = new AbortController();
    const stopped = proxy.stop(forced.signal);
    await events.until('listener.closed');
    expect(proxy.progress).toMatchObject({ state: 'finishing', remaining: 1 });
    forced.abort();
    await stopped;
    expect(events.last('connection.closed')?.closed.error?.code).toBe('CLOSED_BY_DRAIN');
  });

  it('keeps working when an observer throws', async () => {
    const events = recorder();
    const broken = { name: 'broken', observe: () => Promise.reject(new Error('oops')) as unknown as void };
    const proxy = createProxy(options({ observers: [broken, events] }));
    await proxy.start();
    expect(await events.until('observer.threw')).toMatchObject({ observer: 'broken' });
    await proxy.stop();
  });

  it('follows what its sources say later', async () => {
    await using api = await tlsBackend('api.example.com');
    const source = staticSource('mine');
    const events = recorder();
    const proxy = createProxy({ listen: LOOPBACK, sources: [source], sniffers: [sniSniffer()], observers: [events] });
    await proxy.start();
    source.set([routeTo(api)]);
    await events.untilCount('routes.replaced', 2);
    await using client = await tlsClient(proxy.address, 'api.example.com', { ca: api.ca });
    expect(await client.echo('hello')).toBe('hello');
    client.end();
    await proxy.stop();
  });

  it('is rejected with every problem at once when it could never carry anything', () => {
    expect(() => createProxy({ listen: [], sniffers: [] })).toThrow(
      [
        'listen: expected at least one address, found none',
        'sniffers: expected at least one sniffer, found none',
        'sources: expected routes, a source or a resolver, found none',
      ].join('\n'),
    );
  });

  it.each<readonly [wrong: unknown, problem: string]>([
    [undefined, 'expected options, found undefined'],
    [{ listen: undefined }, 'listen: expected an address with host and port, found undefined'],
    [{ listen: 8443 }, 'listen: expected an address with host and port, found 8443'],
    [{ listen: '127.0.0.1:8443' }, 'listen: expected an address with host and port, found "127.0.0.1:8443"'],
    [{ listen: { host: '127.0.0.1', port: '8443' } }, 'listen: expected an address with host and port'],
    [{ listen: { host: '127.0.0.1', port: 65_536 } }, 'listen.port: expected a port from 0 to 65535, found 65536'],
    [{ listen: { port: 8443 } }, 'listen: expected an address with host and port'],
    [{ listen: [LOOPBACK] }, 'listen.0.name: expected a non-empty string, found undefined'],
    [
      { listen: [{ name: 'edge', endpoint: { host: '127.0.0.1', port: -1 } }] },
      'listen.0.endpoint.port: expected a port from 0 to 65535, found -1',
    ],
    [
      { listen: [{ name: 'edge', endpoint: LOOPBACK, access: { allow: ['everyone'] } }] },
      'listen.0.access.allow: expected a list of addresses and blocks',
    ],
    [{ sniffers: sniSniffer() }, 'sniffers: expected a list, found an object'],
    [{ sniffers: [sniSniffer] }, 'sniffers.0: expected an object with inspect(), found a function'],
    [{ source: [] }, 'source: expected one of sniffers, sources, '],
    [{ sources: [Promise.resolve()] }, 'sources.0: expected an object with watch(), found a promise'],
    [{ observers: [() => undefined] }, 'observers.0: expected an object with observe(), found a function'],
    [
      { services: [{ start: () => undefined }] },
      'services.0: expected an object with start(), stop(), found one without stop()',
    ],
    [{ layers: [{}] }, 'layers.0: expected a function, found one without call()'],
    [{ transport: 'node' }, 'transport: expected an object with listen(), dial(), splice(), found a string'],
    [{ limits: { connections: NaN } }, 'limits.connections: expected a number of 0 or more, found NaN'],
    [{ limits: { idleTimeoutMs: '1h' } }, 'limits.idleTimeoutMs: expected a number of 0 or more, found "1h"'],
    [
      { limits: { perClient: { rate: { count: 5, perMs: NaN } } } },
      'limits.perClient.rate: expected a count and a time, both above 0',
    ],
    [{ keepAlive: { idleMs: '60s' } }, 'keepAlive: expected keepalive times above 0, found an object'],
    [{ prefer: { zone: 1 } }, 'prefer: expected strings by name, found an object'],
    [{ limits: { idleTimeout: 5 } }, 'limits.idleTimeout: expected one of helloTimeoutMs, '],
    [{ drain: { grace: '5s' } }, 'drain.grace: expected one of delayMs, graceMs, spreadMs'],
    [{ balances: { mine: {} } }, 'balances.mine: expected a function'],
    [
      { routes: [{ name: 'api', serverNames: 'api', backends: [] }] },
      'routes.0.serverNames: expected a list, found "api"',
    ],
    [{ routes: {} }, 'routes: expected a list, found an object'],
    [{ limits: { perClient: { conections: 2 } } }, 'limits.perClient.conections: expected one of connections, '],
    [{ keepAlive: { idleMs: NaN } }, 'keepAlive: expected keepalive times above 0, found an object'],
    [{ prefer: ['zone'] }, 'prefer: expected strings by name, found a list'],
    [{ listen: [{ name: 'a', endpoint: LOOPBACK, access: 'deny' }] }, 'listen.0.access: expected access rules'],
    [
      { listen: [{ name: 'a', endpoint: LOOPBACK, access: { deny: '0.0.0.0/0' } }] },
      'listen.0.access.deny: expected a list of addresses and blocks, found "0.0.0.0/0"',
    ],
    [{ sources: [{ watch: () => undefined }] }, 'sources.0.name: expected a name, found undefined'],
    [{ services: [{ start: () => undefined, stop: () => undefined }] }, 'services.0.name: expected a name'],
    [{ filters: [{ name: '', filter: () => undefined }] }, 'filters.0.name: expected a name, found an empty string'],
  ])('is refused with options that are wrong: %j', (wrong, problem) => {
    const given = wrong === undefined ? wrong : { ...options(), ...(wrong as object) };
    // Embedders may use plain JavaScript.
    const refused = expect(() => createProxy(given as ProxyOptions));
    refused.toThrow(ConfigProblems);
    refused.toThrow(problem);
  });

  it('stops cleanly when its services are synchronous', async () => {
    const sync = { name: 'sync', start: () => undefined, stop: () => undefined };
    const proxy = createProxy(options({ services: [sync as unknown as Service] }));
    await proxy.start();
    await expect(proxy.stop()).resolves.toBeUndefined();
  });

  it('may have times without an end, and names that no client can send', async () => {
    const proxy = createProxy(
      options({
        routes: [{ name: 'odd', serverNames: ['API.example.com.'], backends: [] }],
        limits: { idleTimeoutMs: Infinity, connections: Infinity },
        drain: { graceMs: Infinity, delayMs: 0, spreadMs: 0 },
      }),
    );
    await proxy.start();
    await proxy.stop();
  });

  it('lets a connection finish in its own time when the grace of its drain has no end', async () => {
    await using api = await tlsBackend('api.example.com');
    const events = recorder();
    const proxy = createProxy(options({ routes: [routeTo(api)], drain: { graceMs: Infinity }, observers: [events] }));
    await proxy.start();
    await using client = await tlsClient(proxy.address, 'api.example.com', { ca: api.ca });
    expect(await client.echo('hello')).toBe('hello');
    const drained = proxy.drain();
    await events.until('listener.closed');
    expect(await client.echo('still here')).toBe('still here');
    client.end();
    expect(await drained).toMatchObject({ state: 'drained', finished: 1, cut: 0 });
    await proxy.stop();
  });

  it('stops although a service of it never starts, and is not listening then', async () => {
    let onStart: () => void = () => undefined;
    const isStarting = new Promise<void>((resolve) => (onStart = resolve));
    const start = (): Promise<never> => new Promise(() => onStart());
    const proxy = createProxy(options({ services: [{ name: 'stuck', start, stop: async () => undefined }] }));
    const started = proxy.start().catch((reason: unknown) => reason);
    await isStarting;
    await proxy.stop();
    expect(await started).toMatchObject({ message: 'stuck did not give up its start in time' });
    expect(proxy.addresses.size).toBe(0);
  });

  it('cannot be started twice', async () => {
    const proxy = createProxy(options());
    await proxy.start();
    await expect(proxy.start()).rejects.toThrow('never started');
    await proxy.stop();
    await expect(proxy.start()).rejects.toThrow('never started, found it stopped');
  });

  it('stops at once when it was never started', async () => {
    const proxy = createProxy(options());
    expect(await proxy.drain()).toMatchObject({ state: 'serving', remaining: 0 });
    await proxy.stop();
  });
});

/** A source that records when its watch begins and ends. */
function watched(log: string[]): RouteSource {
  return {
    name: 'watched',
    async *watch(signal) {
      log.push('watch began');
      yield { version: '1', routes: [] };
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      log.push('watch ended');
    },
  };
}
