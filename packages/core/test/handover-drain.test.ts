// A drain while the successor already accepts, settings that change during a drain, and limits of routes that are added
// and removed.
import { describe, expect, it } from 'vitest';
import { judgeResponse } from '../src/health/client-hello.ts';
import { Drain } from '../src/lifecycle/drain.ts';
import type { DrainTargets } from '../src/lifecycle/drain.ts';
import type { ProxyEvent } from '../src/observe.ts';
import { routeRules } from '../src/pipeline/route-rules.ts';
import type { ConnectContext } from '../src/pipeline/stages.ts';
import type { Upstream } from '../src/pipeline/connection.ts';

function drained(listeners: DrainTargets['listeners']) {
  const events: ProxyEvent[] = [];
  const notified: string[] = [];
  const service = {
    name: 'registration',
    start: async () => undefined,
    stop: async () => undefined,
    drain: async () => void notified.push('drain'),
  };
  const sessions = {
    size: 0,
    ended: 0,
    empty: () => Promise.resolve(),
    stopAccepting: () => void notified.push('stop accepting'),
    [Symbol.iterator]: () => [][Symbol.iterator](),
  };
  const observer = { observe: (event: ProxyEvent) => void events.push(event) };
  const drain = new Drain(
    { delayMs: 60_000, graceMs: 60_000, spreadMs: 0 },
    { sessions, listeners, services: [service], observer },
  );
  return { drain, notified, events };
}

describe('a drain after a handover', () => {
  it('releases the sockets, tells no service, and waits for nobody to notice', async () => {
    const how: string[] = [];
    const { drain, notified } = drained({
      stop: () => Promise.resolve(void how.push('stop')),
      release: () => Promise.resolve(void how.push('release')),
    });
    expect(await drain.begin('handover')).toMatchObject({ state: 'drained', finished: 0, cut: 0, remainingMs: 0 });
    expect([how, notified]).toEqual([['release'], ['stop accepting']]);
  });

  it('stops listeners that cannot be released', async () => {
    const how: string[] = [];
    const { drain } = drained({ stop: () => Promise.resolve(void how.push('stop')) });
    await drain.begin('handover');
    expect(how).toEqual(['stop']);
  });

  it('takes its time by the settings of now', async () => {
    const { drain, notified, events } = drained({ stop: () => Promise.reject(new Error('busy')) });
    drain.use({ delayMs: 0, graceMs: 0, spreadMs: 0 });
    expect((await drain.begin()).state).toBe('drained');
    expect(notified).toEqual(['drain', 'stop accepting']);
    expect(events.map(({ type }) => type)).toEqual(['drain.started', 'service.failed', 'drain.ended']);
  });
});

describe('limits of routes', () => {
  const reached = { release: () => undefined } as unknown as Upstream;
  const context = { connection: { remote: { host: '192.0.2.1', port: 1 } } } as ConnectContext;
  const route = (name: string, connections: number) => ({
    name,
    serverNames: [],
    backends: [],
    limits: { connections },
  });

  it('are kept for those in use, however many come and go', async () => {
    const connector = routeRules()({ connect: () => Promise.resolve(reached) });
    const kept = await connector.connect(route('kept', 1), context);
    for (let index = 0; index < 2_500; index += 1)
      (await connector.connect(route(`r${index}`, 1), context)).release({ bytesUp: 0, bytesDown: 0 });
    await expect(connector.connect(route('kept', 1), context)).rejects.toMatchObject({ code: 'LIMIT_REACHED' });
    kept.release({ bytesUp: 0, bytesDown: 0 });
    await expect(connector.connect(route('kept', 1), context)).resolves.toBeDefined();
  });

  it('wait for the files of access rules, and let nobody in by those that could not be read', async () => {
    let reads = 0;
    const lists = { get: () => undefined, read: () => Promise.resolve(void (reads += 1)) };
    const connector = routeRules({ lists })({ connect: () => Promise.resolve(reached) });
    const closed = { name: 'closed', serverNames: [], backends: [], access: { allowFile: '/allow' } };
    await expect(connector.connect(closed, context)).rejects.toMatchObject({ code: 'CLIENT_DENIED' });
    expect(reads).toBe(1);
  });
});

describe('what a server answers to a check', () => {
  const warning = [21, 3, 3, 0, 2, 1, 112];
  const serverHello = [22, 3, 3, 0, 4, 2, 0, 0, 0];

  it.each<[what: string, bytes: readonly number[], kind: string]>([
    ['nothing', [], 'more'],
    ['the first byte of a record', [22], 'more'],
    ['a header without what it announces', [22, 3, 3, 0, 4], 'more'],
    ['a ServerHello', serverHello, 'server-hello'],
    ['a ServerHello behind a warning', [...warning, ...serverHello], 'server-hello'],
    ['a warning alone', warning, 'more'],
    ['half a warning', warning.slice(0, 6), 'more'],
    ['a warning that is longer than what has come', [21, 3, 3, 0, 200, 1, 112], 'more'],
    ['a fatal alert', [21, 3, 3, 0, 2, 2, 40], 'failed'],
    ['another message', [22, 3, 3, 0, 4, 1, 0, 0, 0], 'failed'],
    ['something else', [...Buffer.from('HTTP/1.1 400')], 'failed'],
  ])('%s: %j', (_what, bytes, kind) => {
    expect(judgeResponse(Buffer.from(bytes)).kind).toBe(kind);
  });
});
