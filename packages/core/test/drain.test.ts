import { describe, expect, it } from 'vitest';
import type { ProxyError } from '../src/errors.ts';
import { Drain } from '../src/lifecycle/drain.ts';
import type { DrainedSessions, DrainOptions } from '../src/lifecycle/drain.ts';
import type { Service } from '../src/lifecycle/service.ts';
import type { ProxyEvent } from '../src/observe.ts';

const AT_ONCE: DrainOptions = { delayMs: 0, graceMs: 0, spreadMs: 0 };

interface Stub {
  readonly lastByteAt: number;
  cutAt: number | undefined;
  cut(reason: ProxyError): boolean;
}

/** This many sessions, each of which closes as soon as it is cut. */
class Stubs implements DrainedSessions {
  readonly order: number[] = [];
  size: number;
  ended = 0;
  accepts = true;
  readonly #all: Stub[];
  readonly #resolve: (() => void)[] = [];

  constructor(lastByteAt: readonly number[]) {
    this.size = lastByteAt.length;
    this.#all = lastByteAt.map((at) => {
      const stub: Stub = {
        lastByteAt: at,
        cutAt: undefined,
        cut: () => {
          stub.cutAt = performance.now();
          this.order.push(at);
          this.size -= 1;
          this.ended += 1;
          if (this.size === 0) for (const resolve of this.#resolve.splice(0)) resolve();
          return true;
        },
      };
      return stub;
    });
  }

  [Symbol.iterator](): Iterator<Stub> {
    return this.#all[Symbol.iterator]();
  }

  empty(): Promise<void> {
    return this.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#resolve.push(resolve));
  }

  stopAccepting(): void {
    this.accepts = false;
  }
}

function drain(sessions: DrainedSessions, options: DrainOptions, services: readonly Service[] = []) {
  const events: ProxyEvent[] = [];
  const observer = { observe: (event: ProxyEvent) => void events.push(event) };
  const listeners = { stop: () => Promise.resolve() };
  return { events, drain: new Drain(options, { sessions, listeners, services, observer }) };
}

function service(name: string, hook: () => Promise<void>): Service {
  return { name, drain: hook, start: () => Promise.resolve(), stop: () => Promise.resolve() };
}

/**
 * The longest turn of the event loop while `work` runs, in milliseconds of CPU time: wall-clock time depends on what
 * else the machine does.
 */
async function longestTurn(work: Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = process.cpuUsage();
  let turn = setImmediate(onTurn);
  await work;
  clearImmediate(turn);
  return longest;

  function onTurn(): void {
    const { user, system } = process.cpuUsage(last);
    longest = Math.max(longest, (user + system) / 1_000);
    last = process.cpuUsage();
    turn = setImmediate(onTurn);
  }
}

describe('the closing phase of a drain', () => {
  it('closes the longest idle first, and accepts no new ones', async () => {
    const sessions = new Stubs([30, 10, 20.5, 20]);
    const { cut } = await drain(sessions, AT_ONCE).drain.begin();
    expect(cut).toBe(4);
    expect(sessions.order.map(Math.floor)).toEqual([10, 20, 20, 30]);
    expect(sessions.accepts).toBe(false);
  });

  it('spreads them over its period', async () => {
    const sessions = new Stubs(Array.from({ length: 20 }, (_, index) => index));
    const start = performance.now();
    await drain(sessions, { ...AT_ONCE, spreadMs: 100 }).drain.begin();
    const stamps = Array.from(sessions, ({ cutAt = 0 }) => cutAt - start);
    expect(stamps[0]).toBeLessThan(stamps[19] ?? 0);
    expect((stamps[19] ?? 0) - (stamps[0] ?? 0)).toBeGreaterThan(50);
  });

  it.each([
    ['over its spread', 500],
    ['at once', 0],
  ])('closes 50,000 %s without blocking the event loop', async (_when, spreadMs) => {
    const longest: number[] = [];
    // V8 compiles and collects at any time; only what every drain takes counts.
    for (let round = 0; round < 3; round += 1) {
      const sessions = new Stubs(Array.from({ length: 50_000 }, (_, index) => (index * 7_919) % 50_021));
      const start = performance.now();
      const { drain: one } = drain(sessions, { ...AT_ONCE, spreadMs });
      longest.push(await longestTurn(one.begin()));
      expect(one.progress).toMatchObject({ state: 'drained', remaining: 0, cut: 50_000 });
      expect(sessions.order.every((at, index) => index === 0 || at >= (sessions.order[index - 1] ?? 0))).toBe(true);
      expect(performance.now() - start).toBeLessThan(spreadMs + 5_000);
    }
    expect(Math.min(...longest)).toBeLessThan(50);
  });

  it('closes all remaining ones at once when it is forced', async () => {
    const sessions = new Stubs([1, 2, 3]);
    const { drain: one } = drain(sessions, { ...AT_ONCE, spreadMs: 600_000 });
    const ending = one.begin();
    one.force();
    expect((await ending).cut).toBe(3);
  });
});

describe('a service that takes part in a drain', () => {
  it('and fails is reported, and the drain continues', async () => {
    const broken = [
      service('rejects', () => Promise.reject(new Error('no agent'))),
      service('throws', () => {
        throw new Error('no');
      }),
    ];
    const { drain: one, events } = drain(new Stubs([1]), AT_ONCE, broken);
    expect((await one.begin()).state).toBe('drained');
    for (const name of ['rejects', 'throws'])
      expect(events).toContainEqual(expect.objectContaining({ type: 'service.failed', service: name }));
  });

  it('and never settles does not delay the end of a forced drain, and is named', async () => {
    const hanging = service('hangs', () => new Promise(() => undefined));
    const { drain: one, events } = drain(new Stubs([1]), AT_ONCE, [hanging]);
    const ending = one.begin();
    one.force();
    expect((await ending).state).toBe('drained');
    expect(events).toContainEqual({
      type: 'service.failed',
      service: 'hangs',
      error: expect.objectContaining({ message: 'its part of the drain did not settle in time' }),
    });
  });

  it('and never settles has five seconds', { timeout: 40_000 }, async () => {
    const start = performance.now();
    const { drain: one } = drain(new Stubs([]), AT_ONCE, [service('hangs', () => new Promise(() => undefined))]);
    await one.begin();
    expect(performance.now() - start).toBeGreaterThan(4_900);
  });
});
