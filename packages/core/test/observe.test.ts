import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { observers } from '../src/observe.ts';
import type { Observer, ProxyEvent } from '../src/observe.ts';

// An error of another realm, as from a plugin with its own context: `instanceof` is false for it.
const ForeignPromise = runInNewContext('Promise') as PromiseConstructor;
const event: ProxyEvent = { type: 'listener.closed', listener: 'web' };

function recorder(): Observer & { readonly events: ProxyEvent[] } {
  const events: ProxyEvent[] = [];
  return { events, observe: (one) => void events.push(one) };
}

function broken(message: () => string): Observer {
  return {
    name: 'broken',
    observe: () => {
      throw new Error(message());
    },
  };
}

/** The compiler accepts an `async` method where `void` is expected. */
function rejecting(message: string): Observer {
  return { name: 'rejecting', observe: () => Promise.reject(new Error(message)) as unknown as void };
}

describe('several observers', () => {
  it('all receive everything, in order', () => {
    const [one, other] = [recorder(), recorder()];
    observers([one, other]).observe(event);
    expect([one.events, other.events]).toEqual([[event], [event]]);
  });

  it('still receive events when one of them throws, and one event about that', () => {
    const healthy = recorder();
    const all = observers([broken(() => 'no disk'), healthy]);
    all.observe(event);
    all.observe(event);
    expect(healthy.events.map(({ type }) => type)).toEqual(['observer.threw', 'listener.closed', 'listener.closed']);
    expect(healthy.events[0]).toMatchObject({ observer: 'broken', error: new Error('no disk') });
  });

  it('do not receive a flood from one that throws a new error each time', () => {
    let count = 0;
    const healthy = recorder();
    const all = observers([broken(() => `failure ${(count += 1)}`), healthy]);
    for (let i = 0; i < 1_000; i += 1) all.observe(event);
    expect(healthy.events.filter(({ type }) => type === 'observer.threw')).toHaveLength(100);
  });

  it('get an event when one of them returns a promise that rejects, as when one throws', async () => {
    const healthy = recorder();
    const all = observers([rejecting('no disk'), healthy, rejecting('no network')]);
    for (let i = 0; i < 3; i += 1) all.observe(event);
    // Vitest fails a file with an unhandled rejection.
    await new Promise((resolve) => setImmediate(resolve));
    const threw = healthy.events.filter(({ type }) => type === 'observer.threw');
    expect(threw).toMatchObject([{ error: { message: 'no disk' } }, { error: { message: 'no network' } }]);
    expect(healthy.events).toHaveLength(5);
  });

  it.each<[what: string, observer: unknown, name: string]>([
    ['a symbol', { ...broken(() => 'no disk'), name: Symbol('no') }, 'unnamed'],
    [
      'a getter that throws',
      {
        ...broken(() => 'no disk'),
        get name(): never {
          throw new Error('no name either');
        },
      },
      'unnamed',
    ],
    ['absent', { ...broken(() => 'no disk'), name: undefined }, 'unnamed'],
  ])('still get events when the name of the one that throws is %s', (_what, observer, name) => {
    const healthy = recorder();
    observers([observer as Observer, healthy]).observe(event);
    expect(healthy.events).toMatchObject([{ type: 'observer.threw', observer: name }, event]);
  });

  it('still get events when one of them is none', () => {
    const healthy = recorder();
    observers([null as unknown as Observer, healthy]).observe(event);
    expect(healthy.events.map(({ type }) => type)).toEqual(['observer.threw', 'listener.closed']);
  });

  it('get an event when one of them answers with a promise of another make that rejects', async () => {
    const healthy = recorder();
    const rejects = (): void => ForeignPromise.reject(new Error('no disk')) as unknown as void;
    observers([{ observe: rejects }, healthy]).observe(event);
    await new Promise((resolve) => setImmediate(resolve));
    expect(healthy.events.at(-1)).toMatchObject({ type: 'observer.threw', error: { message: 'no disk' } });
  });

  it('survive that all of them throw', () => {
    expect(() => observers([broken(() => 'a'), broken(() => 'b')]).observe(event)).not.toThrow();
  });
});
