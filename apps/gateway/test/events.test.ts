import { once } from 'node:events';
import type { Readable } from 'node:stream';
import type { Route, RouteSnapshot } from '@meshgate/core';
import { tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { adminClient } from '../src/admin/client.ts';
import { EventStreams, MAX_STREAMS } from '../src/admin/event-streams.ts';
import type { StatusView } from '../src/admin/status.ts';
import { RateMeter } from '../src/admin/traffic-rates.ts';
import type { Traffic } from '../src/admin/traffic.ts';
import { MAX_LISTED, routeChanges } from '../src/log/route-changes.ts';
import { gatewayFolder, routesTo, startGateway } from './daemon.ts';

interface Message {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The messages of a stream of server-sent events, as they arrive. */
async function* messagesOf(chunks: AsyncIterable<string>): AsyncGenerator<Message> {
  let rest = '';
  for await (const chunk of chunks) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const [, event, data] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? [];
      if (event !== undefined && data !== undefined) yield { event, data: JSON.parse(data) as Message['data'] };
    }
  }
}

async function firstOf(messages: AsyncGenerator<Message>, matches: (message: Message) => boolean): Promise<Message> {
  for (;;) {
    const { value, done } = await messages.next();
    if (done === true) throw new Error('the stream has ended without it');
    if (matches(value)) return value;
  }
}

describe('GET /events', () => {
  it('streams status, traffic and route changes, and the log has the same changes', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const over = new AbortController();
    const messages = messagesOf(adminClient(new URL(gateway.admin)).stream('/events', over.signal));
    const { data: status } = await firstOf(messages, ({ event }) => event === 'status');
    expect(status).toMatchObject({ ready: true, role: 'gateway', workers: 1, routes: 1, drain: { state: 'serving' } });
    await using client = await tlsClient(gateway.address, 'api.example.com');
    await client.echo('hello');
    const { data: traffic } = await firstOf(messages, ({ data }) => JSON.stringify(data).includes('"active":1'));
    expect(traffic).toMatchObject({ connections: 1, routes: { api: { active: 1, errors: {} } } });

    const other = { name: 'web.example.com', address: api.address };
    await files.write('routes.yaml', routesTo(other));
    gateway.signal('SIGHUP');
    const { data: change } = await firstOf(messages, ({ event }) => event === 'routes');
    expect(change).toMatchObject({
      source: 'file:routes.yaml',
      appeared: { count: 1, first: ['web'] },
      vanished: { count: 1, first: ['api'] },
      health: { count: 0, first: [] },
    });
    const line = await gateway.line((one) => one['appeared'] !== undefined);
    expect(line).toMatchObject({ msg: 'routes updated: 1 route', appeared: 'web', vanished: 'api', removed: 1 });
    over.abort();
    await expect(messages.next()).rejects.toThrow();
  });

  it('does not delay the end of the gateway', async () => {
    await using files = await gatewayFolder([]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const messages = messagesOf(adminClient(new URL(gateway.admin)).stream('/events', new AbortController().signal));
    await messages.next();
    gateway.signal('SIGTERM');
    await firstOf(messages, ({ data }) => JSON.stringify(data).includes('drained')).catch(() => undefined);
    expect(await gateway.ended).toBe(0);
  });
});

const STATUS = { ready: true } as StatusView;
const NO_TRAFFIC: Traffic = { accepted: 0, refused: 0, routes: {} };

describe('event streams', () => {
  const failures: string[] = [];
  const streams = (slowMs?: number): EventStreams =>
    new EventStreams({
      status: () => STATUS,
      traffic: () => NO_TRAFFIC,
      observer: { observe: (event) => void failures.push(event.type) },
      tickMs: 1,
      ...(slowMs !== undefined && { slowMs }),
    });

  it('are bounded in number, and a closed one makes room', async () => {
    const all = streams();
    const controllers = Array.from({ length: MAX_STREAMS }, () => new AbortController());
    const open = controllers.map(({ signal }) => all.open(signal));
    expect(open.every((stream) => stream !== undefined)).toBe(true);
    const signal = new AbortController();
    expect(all.open(signal.signal)).toBeUndefined();
    for (const stream of open) stream?.on('data', () => undefined);
    await once(open[0] as Readable, 'data');
    controllers[0]?.abort();
    await closed(open[0]);
    await expect.poll(() => all.open(signal.signal)).toBeDefined();
    signal.abort();
    for (const controller of controllers) controller.abort();
  });

  it('disconnect a reader that does not read, and keep one that does', async () => {
    const all = streams(20);
    const over = new AbortController();
    const [slow, quick] = [all.open(over.signal), all.open(over.signal)];
    let received = 0;
    quick?.on('data', () => (received += 1));
    // It begins to read, and then stops.
    await once(slow as Readable, 'readable');
    await closed(slow);
    const before = received;
    await expect.poll(() => received).toBeGreaterThan(before);
    over.abort();
    expect(failures).toEqual([]);
  });

  it('send a slow reader the latest numbers, and the first changes with the number of the others', async () => {
    const all = streams();
    const over = new AbortController();
    const stream = all.open(over.signal) as Readable;
    const chunks = stream[Symbol.asyncIterator]() as AsyncIterableIterator<string>;
    await chunks.next();
    for (let version = 1; version <= 60; version += 1) {
      const snapshot = snapshotOf([`r${version}`], String(version));
      all.observe({
        type: 'routes.replaced',
        source: 's',
        previous: snapshotOf([], '0'),
        snapshot,
        removed: [],
        tookMs: 0,
      });
    }
    let observed = '';
    while (!observed.includes('event: missed')) observed += (await chunks.next()).value as string;
    expect(observed).toContain('"first":["r1"]');
    expect(observed).toMatch(/event: missed\ndata: \{"changes":\d+\}/);
    over.abort();
  });
});

function closed(stream: Readable | undefined): Promise<void> {
  return new Promise((resolve) => (stream?.destroyed === true ? resolve() : stream?.once('close', resolve)));
}

describe('rates', () => {
  const route = (closedCount: number, errors = {}): Traffic['routes'][string] => ({
    active: 2,
    closed: closedCount,
    bytesUp: closedCount * 100,
    bytesDown: 0,
    errors,
  });

  it('are differences of samples, reported only for changed routes', () => {
    const meter = new RateMeter();
    const first = meter.next({ accepted: 10, refused: 0, routes: { a: route(5), b: route(7) } }, 0);
    expect(first).toMatchObject({ connections: 4, acceptedPerSecond: 0, routes: { a: { closedPerSecond: 0 } } });
    const second = meter.next(
      { accepted: 30, refused: 2, routes: { a: route(9, { CONNECT_REFUSED: 2 }), b: route(7) } },
      2_000,
    );
    expect(second).toEqual({
      seconds: 2,
      connections: 4,
      acceptedPerSecond: 10,
      refusedPerSecond: 1,
      routes: {
        a: {
          active: 2,
          closedPerSecond: 2,
          failedPerSecond: 1,
          bytesUpPerSecond: 200,
          bytesDownPerSecond: 0,
          errors: { CONNECT_REFUSED: 2 },
        },
      },
    });
    // The counters of a worker that has exited are gone: nothing is less than 0 per second.
    const third = meter.next({ accepted: 0, refused: 0, routes: { a: route(1) } }, 3_000);
    expect(third).toMatchObject({ acceptedPerSecond: 0, routes: { a: { closedPerSecond: 0, bytesUpPerSecond: 0 } } });
    expect(Object.keys(meter.current)).toEqual(['a']);
  });
});

function snapshotOf(names: readonly string[], version: string, healthy = 1): RouteSnapshot {
  const backends = [0, 1].map((index) => ({
    address: { host: `10.0.0.${index}`, port: 1 },
    weight: 1,
    healthy: index < healthy,
  }));
  return { version, routes: names.map((name): Route => ({ name, serverNames: [name], backends })) };
}

describe('the changes of a snapshot', () => {
  it('are the routes that appeared, vanished or changed health, each with a bound', () => {
    const many = Array.from({ length: 100 }, (_, index) => `r${index}`);
    const before = snapshotOf(['a', 'b'], '1');
    const changes = routeChanges(before, {
      version: '2',
      routes: [...snapshotOf(['b'], '', 2).routes, ...snapshotOf(many, '').routes],
    });
    expect(changes.appeared).toEqual({ count: 100, first: many.slice(0, MAX_LISTED) });
    expect(changes.vanished).toEqual({ count: 1, first: ['a'] });
    expect(changes.health).toEqual({
      count: 1,
      first: [{ route: 'b', was: { healthy: 1, total: 2 }, is: { healthy: 2, total: 2 } }],
    });
  });

  it('are none for equal routes', () => {
    const none = { count: 0, first: [] };
    const equal = routeChanges(snapshotOf(['a'], '1'), snapshotOf(['a'], '2'));
    expect(equal).toEqual({ appeared: none, vanished: none, health: none });
  });
});
