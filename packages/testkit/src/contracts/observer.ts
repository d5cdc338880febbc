import { describe, expect, it } from '../runner.ts';
import { ProxyError } from '@meshgate/core';
import type { Observer, ProxyEvent } from '@meshgate/core';
import { eventSamples } from '../event-samples.ts';
import { deepFrozen } from './freeze.ts';
import { collectGarbage } from './garbage.ts';

/** Deviations of an observer from the default contract. */
export interface ObserverTraits {
  /** Whether it keeps closed connections on purpose: skips the test that it releases them. */
  readonly keepsClosedConnections?: boolean;
}

/**
 * Declares a suite that checks the contract of an observer: it accepts every type of event, known or not, without
 * throwing, modifying it or waiting, is fast enough to be called for every connection, and releases closed connections.
 *
 * @param create a new observer for each test
 */
export function describeObserver(
  name: string,
  create: () => Observer | Promise<Observer>,
  traits: ObserverTraits = {},
): void {
  describe(`${name}, as an observer,`, () => {
    it.each(Object.values<ProxyEvent>(eventSamples()))('accepts $type', async (event) => {
      const observer = await create();
      const response: unknown = observer.observe(deepFrozen(event));
      expect(isPromiseLike(response), 'whether it returned a promise: nothing awaits it').toBe(false);
    });

    it('accepts a connection that ended early, for each reason', async () => {
      const observer = await create();
      for (const event of earlyEnds()) observer.observe(deepFrozen(event));
    });

    it('accepts an event of an unknown type', async () => {
      const observer = await create();
      const later = { type: 'something.new' } as unknown as ProxyEvent;
      expect(() => observer.observe(later)).not.toThrow();
    });

    it('accepts events in any order, and repeated', async () => {
      const observer = await create();
      const backwards = Object.values<ProxyEvent>(eventSamples()).toReversed();
      for (const event of [...backwards, ...backwards]) observer.observe(event);
    });

    it(`handles a thousand connections in less than ${QUICK_MS} ms`, async () => {
      const observer = await create();
      const lives = Array.from({ length: 1_000 }, (_, index) => life(`c${index}`)).flat();
      const start = performance.now();
      for (const event of lives) observer.observe(event);
      expect(performance.now() - start).toBeLessThan(QUICK_MS);
    });

    it.skipIf(traits.keepsClosedConnections)(
      'releases connections that have closed',
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

// One millisecond per connection on a slow machine; more would delay the connection itself.
const QUICK_MS = 1_000;
// Unreferenced objects are collected within two cycles.
const COLLECTED_WITHIN_MS = 4_000;
// The engine may keep a few of the 100 on its stack.
const MAY_LINGER = 5;

function isPromiseLike(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value;
}

/** Returns the events of one successful connection. */
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

/** Returns connections without a hello, a route or a backend: these facts are missing, or `undefined`. */
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

/** A separate function, so that nothing of it remains on the stack. */
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
