import { describe, expect, it } from '../runner.ts';
import { ProxyError } from '@meshgate/core';
import type { Observer, ProxyEvent } from '@meshgate/core';
import { eventSamples } from '../event-samples.ts';
import { deepFrozen } from './freeze.ts';
import { collectGarbage } from './garbage.ts';

/** What an observer does that not every observer does. */
export interface ObserverTraits {
  /** It keeps connections that have closed, on purpose: that it forgets them is then not tested. */
  readonly keepsClosedConnections?: boolean;
}

/**
 * Declares a suite that proves that an observer keeps its promises: it takes every type of event, known or not, without throwing
 * and without changing it, does not wait, is quick enough to be asked at every connection, and forgets connections that have
 * closed.
 *
 * @param create a new observer for each test
 */
export function describeObserver(
  name: string,
  create: () => Observer | Promise<Observer>,
  traits: ObserverTraits = {},
): void {
  describe(`${name}, as an observer,`, () => {
    it.each(Object.values<ProxyEvent>(eventSamples()))('takes $type', async (event) => {
      const observer = await create();
      const answer: unknown = observer.observe(deepFrozen(event));
      expect(isPromiseLike(answer), 'whether it returned a promise: nobody waits for it').toBe(false);
    });

    it('takes a connection that ended early, for each reason', async () => {
      const observer = await create();
      for (const event of earlyEnds()) observer.observe(deepFrozen(event));
    });

    it('takes an event of a type that it cannot know yet', async () => {
      const observer = await create();
      const later = { type: 'something.new' } as unknown as ProxyEvent;
      expect(() => observer.observe(later)).not.toThrow();
    });

    it('takes events in any order, and again', async () => {
      const observer = await create();
      const backwards = Object.values<ProxyEvent>(eventSamples()).toReversed();
      for (const event of [...backwards, ...backwards]) observer.observe(event);
    });

    it(`is told a thousand connections in less than ${QUICK_MS} ms`, async () => {
      const observer = await create();
      const lives = Array.from({ length: 1_000 }, (_, index) => life(`c${index}`)).flat();
      const start = performance.now();
      for (const event of lives) observer.observe(event);
      expect(performance.now() - start).toBeLessThan(QUICK_MS);
    });

    it.skipIf(traits.keepsClosedConnections)(
      'forgets connections that have closed',
      { timeout: 2 * COLLECTED_WITHIN_MS },
      async () => {
        const observer = await create();
        const watched = sendLives(observer, 100);
        await expect
          .poll(() => remaining(watched), { timeout: COLLECTED_WITHIN_MS, interval: 20 })
          .toBeLessThan(MAY_LINGER);
      },
    );
  });
}

// A millisecond for each connection, on a slow machine: more of it would be felt by the connection itself.
const QUICK_MS = 1_000;
// What nobody holds is gone after the first collection or two.
const COLLECTED_WITHIN_MS = 4_000;
// The engine may hold a last few on its stack; 100 are told.
const MAY_LINGER = 5;

function isPromiseLike(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value;
}

/** What one connection that goes well has to tell. */
function life(id: string): readonly ProxyEvent[] {
  const samples = eventSamples(id);
  return [
    samples['connection.accepted'],
    samples['connection.sniffed'],
    samples['connection.routed'],
    samples['dial.failed'],
    samples['connection.connected'],
    samples['connection.closed'],
  ];
}

/** Connections that never had a hello, a route or a backend: these facts are missing, or there and `undefined`. */
function earlyEnds(): readonly ProxyEvent[] {
  const { connection } = eventSamples()['connection.accepted'];
  const transfer = { bytesUp: 0, bytesDown: 0 };
  const codes = ['SNIFF_TIMEOUT', 'ROUTE_NOT_FOUND', 'NO_BACKEND', 'DOWNSTREAM_RESET', 'INTERNAL'] as const;
  return codes.flatMap((code) => {
    const error = new ProxyError(code, 'ended early');
    const closed = { connection, attempts: 0, transfer, closedAt: connection.at + 1, error };
    return [closed, { ...closed, ...NOT_REACHED }].map((each) => ({ type: 'connection.closed', closed: each }));
  });
}

const NOT_REACHED = {
  hello: undefined,
  helloAt: undefined,
  route: undefined,
  upstream: undefined,
  connectedAt: undefined,
  dialled: undefined,
};

/** In a function of its own, so that nothing of them is left on the stack. */
function sendLives(observer: Observer, count: number): readonly WeakRef<object>[] {
  const watched: WeakRef<object>[] = [];
  for (let index = 0; index < count; index += 1) {
    const events = life(`c${index}`);
    for (const event of events) {
      observer.observe(event);
      if (event.type === 'connection.accepted') watched.push(new WeakRef(event.connection));
    }
  }
  return watched;
}

function remaining(watched: readonly WeakRef<object>[]): number {
  collectGarbage();
  return watched.filter((each) => each.deref() !== undefined).length;
}
