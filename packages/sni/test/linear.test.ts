import { clientHello, inRecords } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { parseClientHello } from '../src/index.ts';

describe('the work of parsing a hello byte by byte', () => {
  it.each([1, 17, 512, 2 ** 14])('doubles with the size of the hello, in records of %i bytes', (size) => {
    const [short, long] = [700, 1_400].map((padToBytes) => {
      return reads(inRecords(clientHello({ serverName: 'a.test', padToBytes }), size));
    });
    expect(Number(long) / Number(short)).toBeLessThan(2.1);
  });

  it.each([1, 17, 512, 2 ** 14])('is a few reads per byte, in records of %i bytes', (size) => {
    const bytes = inRecords(clientHello({ serverName: 'a.test', padToBytes: 1_400 }), size);
    // A call reads one record header, at most one message header, and the new bytes.
    expect(reads(bytes) / bytes.length).toBeLessThan(20);
  });
});

describe('the work of parsing a hello at once', () => {
  it('excludes what can be skipped', () => {
    const counter = { reads: 0 };
    const bytes = inRecords(clientHello({ serverName: 'a.test', padToBytes: 16_000 }));
    parseClientHello(counting(bytes, counter));
    expect(counter.reads).toBeLessThan(150);
  });
});

/** Number of bytes read in all calls for a hello that arrives byte by byte. */
function reads(bytes: Uint8Array): number {
  const counter = { reads: 0 };
  let progress: unknown;
  let kind = 'more';
  for (let length = 1; length <= bytes.length; length++) {
    const verdict = parseClientHello(counting(bytes.subarray(0, length), counter), progress);
    kind = verdict.kind;
    if (verdict.kind === 'more') progress = verdict.progress;
  }
  expect(kind).toBe('hello');
  return counter.reads;
}

/** `bytes`, with every access to an element counted. Methods work as usual, and count all the bytes that they read. */
function counting(bytes: Uint8Array, counter: { reads: number }): Uint8Array {
  return new Proxy(bytes, {
    get(target, key) {
      if (typeof key === 'string' && /^\d+$/.test(key)) counter.reads++;
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value === 'function' || key === 'buffer') counter.reads += target.length;
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
