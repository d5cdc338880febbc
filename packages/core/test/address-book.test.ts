import { afterEach, describe, expect, it, vi } from 'vitest';
import { AddressBook } from '../src/names/address-book.ts';
import { ResolutionError } from '../src/names/resolution.ts';
import type { NameSystem, Resolution } from '../src/names/resolution.ts';
import type { Observer, ProxyEvent } from '../src/observe.ts';

const ignore = { observe: () => undefined };
function bookOf(resolve: NameSystem['resolve'], observer: Observer = ignore): AddressBook {
  return new AddressBook(observer, { resolve });
}

const endpoint = { host: 'db.example', port: 5432 };

afterEach(() => void vi.useRealTimers());

function hosts(found: readonly { host: string }[]): string[] {
  return found.map(({ host }) => host);
}

describe('an address book', () => {
  it('does not resolve an IP address', () => {
    const book = bookOf(() => Promise.reject(new Error('asked')));
    for (const host of ['10.0.0.1', '2001:db8::1', 'unix:/run/db.sock']) {
      expect(book.find({ host, port: 1 })).toEqual([{ host, port: 1 }]);
    }
  });

  it('returns all addresses, each time beginning with another one', async () => {
    const book = bookOf(() => Promise.resolve({ hosts: ['10.0.0.1', '10.0.0.2', '::1'], ttlSeconds: 60 }));
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.1', '10.0.0.2', '::1']);
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.2', '::1', '10.0.0.1']);
    expect(hosts(await book.find(endpoint))).toEqual(['::1', '10.0.0.1', '10.0.0.2']);
  });

  it('gives one connection at most 256 of the addresses of a name, and others to the next', async () => {
    const all = Array.from({ length: 3_000 }, (_, index) => `10.0.${index >> 8}.${index % 256}`);
    const book = bookOf(() => Promise.resolve({ hosts: all, ttlSeconds: 60 }));
    expect(hosts(await book.find(endpoint))).toEqual(all.slice(0, 256));
    expect(hosts(await book.find(endpoint))).toEqual(all.slice(1, 257));
    for (let turn = 2; turn < 2_999; turn += 1) await book.find(endpoint);
    expect(hosts(await book.find(endpoint))).toEqual([...all.slice(2_999), ...all.slice(0, 255)]);
  });

  it('resolves once for many waiters, and again after the TTL', async () => {
    vi.useFakeTimers();
    let queried = 0;
    const book = bookOf(() => Promise.resolve({ hosts: [`10.0.0.${(queried += 1)}`], ttlSeconds: 30 }));
    await Promise.all([book.find(endpoint), book.find(endpoint), book.find(endpoint)]);
    expect(queried).toBe(1);
    vi.advanceTimersByTime(29_000);
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.1']);
    vi.advanceTimersByTime(2_000);
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.2']);
  });

  it('keeps the last good addresses when resolution fails, and reports it', async () => {
    vi.useFakeTimers();
    const events: ProxyEvent[] = [];
    const answers: (Resolution | Error)[] = [{ hosts: ['10.0.0.1'], ttlSeconds: 1 }, new Error('SERVFAIL')];
    const resolve = () => {
      const answer = answers.shift() ?? new Error('asked too often');
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    };
    const book = bookOf(resolve, { observe: (event) => void events.push(event) });
    await book.find(endpoint);
    vi.advanceTimersByTime(1_500);
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.1']);
    expect(events).toMatchObject([{ type: 'resolution.failed', host: 'db.example', lastGood: true }]);
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.1']);
    expect(events).toHaveLength(1);
  });

  it('does not wait for a slow resolver while it has addresses', async () => {
    vi.useFakeTimers();
    const answers = [Promise.resolve({ hosts: ['10.0.0.1'], ttlSeconds: 1 }), new Promise<Resolution>(() => undefined)];
    const book = bookOf(() => answers.shift() ?? Promise.reject(new Error('asked too often')));
    await book.find(endpoint);
    vi.advanceTimersByTime(1_500);
    const found = book.find(endpoint);
    await vi.advanceTimersByTimeAsync(250);
    expect(hosts(await found)).toEqual(['10.0.0.1']);
  });

  it('reports the name without an address', async () => {
    const book = bookOf(() => Promise.reject(new Error('ENOTFOUND')));
    await expect(book.find(endpoint)).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      message: 'no address for db.example: ENOTFOUND',
    });
  });

  it('treats an IPv6 address in brackets as the address', () => {
    const book = bookOf(() => Promise.reject(new Error('asked')));
    expect(book.find({ host: '[::1]', port: 1 })).toEqual([{ host: '::1', port: 1 }]);
  });

  it('adds the addresses of the slower family when they arrive', async () => {
    const all = { hosts: ['10.0.0.1', '::1'], ttlSeconds: 60 };
    let come: () => void = () => undefined;
    const rest = new Promise<Resolution>((resolve) => (come = () => resolve(all)));
    const book = bookOf(() => Promise.resolve({ hosts: ['10.0.0.1'], ttlSeconds: 60, rest }));
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.1']);
    come();
    await rest;
    expect(hosts(await book.find(endpoint))).toEqual(['::1', '10.0.0.1']);
  });

  it('keeps the last good addresses as long as resolution fails', async () => {
    const { book, fail } = await failingBook('unavailable');
    fail();
    for (let second = 0; second < 3_000; second += 50) {
      expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.1']);
      await vi.advanceTimersByTimeAsync(50_000);
    }
  });

  it('keeps the addresses of a name that no longer exists for half a minute, and no longer', async () => {
    const { book, fail, events } = await failingBook('absent');
    fail();
    for (let second = 0; second < 25; second += 1) {
      expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.1']);
      await vi.advanceTimersByTimeAsync(1_000);
    }
    await vi.advanceTimersByTimeAsync(20_000);
    await Promise.resolve(book.find(endpoint)).catch(() => undefined);
    await vi.advanceTimersByTimeAsync(1);
    await expect(Promise.resolve(book.find(endpoint))).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
    expect(events.at(-1)).toMatchObject({ type: 'resolution.failed', lastGood: false });
  });

  it('retries with back-off while resolution fails', async () => {
    const { book, fail, queried } = await failingBook('unavailable');
    fail();
    for (let second = 0; second < 120; second += 1) {
      await book.find(endpoint);
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(queried()).toBeLessThan(12);
  });

  it('does not resolve an unknown name again for each connection', async () => {
    let queried = 0;
    const book = bookOf(() => {
      queried += 1;
      return Promise.reject(new ResolutionError('absent', 'no such name'));
    });
    for (let i = 0; i < 5; i += 1) await expect(Promise.resolve(book.find(endpoint))).rejects.toThrow('no such name');
    expect(queried).toBe(1);
  });

  it('drops unused names', async () => {
    vi.useFakeTimers();
    const book = bookOf(() => Promise.resolve({ hosts: ['10.0.0.1'], ttlSeconds: 60 }));
    for (let i = 0; i < 100; i += 1) await book.find({ host: `gone-${i}.example`, port: 1 });
    expect(book.size).toBe(100);
    vi.advanceTimersByTime(3_600_001);
    await book.find(endpoint);
    expect(book.size).toBe(1);
  });

  it("resolves again when the system's files have changed, also a name that is being resolved", async () => {
    vi.useFakeTimers();
    let hasChanged = false;
    const answers = [
      new Promise<Resolution>(() => undefined),
      Promise.resolve({ hosts: ['10.0.0.2'], ttlSeconds: 60 }),
    ];
    const book = new AddressBook(ignore, {
      resolve: () => answers.shift() ?? Promise.reject(new Error('asked too often')),
      hasChanged: () => Promise.resolve(hasChanged),
    });
    const first = book.find(endpoint);
    void Promise.resolve(first).catch(() => undefined);
    hasChanged = true;
    await vi.advanceTimersByTimeAsync(2_000);
    void Promise.resolve(book.find(endpoint)).catch(() => undefined);
    await vi.advanceTimersByTimeAsync(0);
    expect(hosts(await book.find(endpoint))).toEqual(['10.0.0.2']);
  });
});

/** A book that knows the endpoint, with a resolver that fails from `fail` on. The test controls the time. */
async function failingBook(kind: 'absent' | 'unavailable') {
  vi.useFakeTimers();
  const events: ProxyEvent[] = [];
  let fails = false;
  let queried = 0;
  const resolve = (): Promise<Resolution> => {
    queried += 1;
    if (fails) return Promise.reject(new ResolutionError(kind, kind));
    return Promise.resolve({ hosts: ['10.0.0.1'], ttlSeconds: 1 });
  };
  const book = bookOf(resolve, { observe: (event) => void events.push(event) });
  await book.find(endpoint);
  await vi.advanceTimersByTimeAsync(1_500);
  return { book, events, fail: () => (fails = true), queried: () => queried };
}
