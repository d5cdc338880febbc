import { describe, expect, it } from 'vitest';
import { Admission } from '../src/pipeline/admission.ts';
import { ClientRates } from '../src/pipeline/client-rates.ts';
import { formatRate, TokenBucket } from '../src/token-bucket.ts';

const EACH = { v4: 32, v6: 128 };
const TEN_A_SECOND = { count: 10, perMs: 1_000 };

/** How many of `attempts` tokens were granted. */
function granted(rates: ClientRates, host: string, attempts: number, nowMs: number): number {
  return Array.from({ length: attempts }, () => rates.take(host, nowMs)).filter(Boolean).length;
}

describe('a token bucket', () => {
  it('may owe tokens, each for a longer wait', () => {
    const pace = new TokenBucket({ count: 2, perMs: 200 });
    let fullAt = 0;
    const owe = (nowMs: number): number => {
      fullAt = pace.fullAtAfterOwing(fullAt, nowMs);
      return pace.waitMs(fullAt, nowMs);
    };
    expect([owe(0), owe(0), owe(0), owe(0)]).toEqual([0, 0, 100, 200]);
    expect([owe(1_000), owe(1_000), owe(1_000)]).toEqual([0, 0, 100]);
  });

  it('gives all its tokens at once, and then as many as have been refilled', () => {
    const pace = new TokenBucket(TEN_A_SECOND);
    let fullAt = 0;
    const take = (nowMs: number): boolean => {
      const next = pace.fullAtAfterTake(fullAt, nowMs);
      fullAt = next ?? fullAt;
      return next !== undefined;
    };
    expect(Array.from({ length: 12 }, () => take(5_000)).filter(Boolean)).toHaveLength(10);
    expect([take(5_099), take(5_100), take(5_100)]).toEqual([false, true, false]);
    expect(Array.from({ length: 12 }, () => take(60_000)).filter(Boolean)).toHaveLength(10);
  });

  it('that replaces one of another rate keeps what was spent, at most everything', () => {
    const slow = new TokenBucket({ count: 3, perMs: 3_600_000 });
    const fast = new TokenBucket({ count: 100, perMs: 1_000 });
    // Three tokens are spent: an hour with one rate, 30 ms with the other.
    expect(fast.fullAtAfter(slow, 3_600_001, 1)).toBeCloseTo(31, 6);
    // A hundred are spent, but a bucket of three can only lose three.
    expect(slow.fullAtAfter(fast, 1_001, 1)).toBe(3_600_001);
    expect(fast.fullAtAfter(slow, 0, 500)).toBe(500);
  });

  it('of less than one token per period gives one at a time', () => {
    const pace = new TokenBucket({ count: 0.25, perMs: 1_000 });
    const fullAt = pace.fullAtAfterTake(0, 10_000);
    expect(fullAt).toBe(14_000);
    expect([pace.fullAtAfterTake(14_000, 13_999), pace.fullAtAfterTake(14_000, 14_000)]).toEqual([undefined, 18_000]);
  });

  it.each([
    [{ count: 100, perMs: 1_000 }, '100/s'],
    [{ count: 30, perMs: 60_000 }, '30/m'],
    [{ count: 1, perMs: 3_600_000 }, '1/h'],
    [{ count: 5, perMs: 10_000 }, '5/10 s'],
  ])('%o is written %s', (rate, text) => {
    expect(formatRate(rate)).toBe(text);
  });
});

describe('rates of clients', () => {
  it('apply to each client separately', () => {
    const rates = new ClientRates(TEN_A_SECOND, { v4: 32, v6: 64 });
    expect(granted(rates, '192.0.2.1', 20, 1)).toBe(10);
    expect(granted(rates, '192.0.2.2', 20, 1)).toBe(10);
    expect(granted(rates, '2001:db8::1', 20, 1)).toBe(10);
    expect(granted(rates, '2001:db8::ffff:1', 20, 1)).toBe(0);
    expect(granted(rates, '192.0.2.1', 20, 501)).toBe(5);
  });

  it('use no more memory for 200,000 addresses than for one, and remember the heaviest users', () => {
    const rates = new ClientRates(TEN_A_SECOND, EACH);
    expect(granted(rates, '192.0.2.1', 10, 1)).toBe(10);
    const before = process.memoryUsage();
    for (let index = 0; index < 200_000; index += 1)
      rates.take(`2001:db8::${(index >>> 16).toString(16)}:${(index & 65_535).toString(16)}`, 1);
    const { arrayBuffers } = process.memoryUsage();
    expect(arrayBuffers - before.arrayBuffers).toBeLessThan(1024 * 1024);
    expect(rates.take('192.0.2.1', 1)).toBe(false);
  });

  it('are kept by a reload, whether or not it changes the rate', () => {
    const limits = (count: number) => ({
      connections: 1e6,
      pendingHellos: 10,
      perClient: { rate: { count, perMs: 3_600_000 } },
    });
    const admission = new Admission(limits(2));
    const admitted = (host: string): boolean => admission.admitClient(host) === undefined;
    expect([admitted('192.0.2.1'), admitted('192.0.2.1'), admitted('192.0.2.1')]).toEqual([true, true, false]);
    admission.use(limits(2));
    expect(admitted('192.0.2.1')).toBe(false);
    admission.use(limits(3));
    expect([admitted('192.0.2.1'), admitted('192.0.2.1')]).toEqual([true, false]);
    admission.use(limits(1));
    expect([admitted('192.0.2.1'), admitted('192.0.2.2'), admitted('192.0.2.2')]).toEqual([false, true, false]);
  });

  it('refuse above the limit, and name it', () => {
    const admission = new Admission({
      connections: 1e6,
      pendingHellos: 10,
      perClient: { rate: { count: 2, perMs: 3_600_000 } },
    });
    expect([admission.admitClient('192.0.2.1'), admission.admitClient('192.0.2.1')]).toEqual([undefined, undefined]);
    expect(admission.admitClient('192.0.2.1')).toMatchObject({
      code: 'LIMIT_REACHED',
      message: 'limits.perClient.rate: 192.0.2.1 has opened more than 2/h',
    });
    expect(admission.connectionsOf('192.0.2.1')).toBe(2);
    expect(admission.admitClient('192.0.2.2')).toBeUndefined();
  });
});
