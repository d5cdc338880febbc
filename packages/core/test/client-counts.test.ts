import { describe, expect, it } from 'vitest';
import { ClientCounts } from '../src/pipeline/client-counts.ts';

const EACH = { v4: 32, v6: 128 };

describe('counts by client address', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1', EACH, true],
    ['192.0.2.1', '192.0.2.2', EACH, false],
    ['192.0.2.1', '192.0.2.2', { v4: 24, v6: 64 }, true],
    ['192.0.2.1', '192.0.3.1', { v4: 24, v6: 64 }, false],
    ['255.255.255.255', '0.0.0.0', { v4: 1, v6: 1 }, false],
    ['2001:db8::1', '2001:0db8:0:0:0:0:0:1', EACH, true],
    ['2001:db8::1', '2001:db8::2', EACH, false],
    ['2001:db8::1', '2001:db8::ffff:ffff:ffff:ffff', { v4: 32, v6: 64 }, true],
    ['2001:db8::1', '2001:db8:0:1::1', { v4: 32, v6: 64 }, false],
    ['fe80::1%eth0', 'fe80::1', EACH, true],
    ['::ffff:192.0.2.1', '192.0.2.1', EACH, true],
    ['::', '0.0.0.0', EACH, false],
  ])('%s and %s by %o are one: %s', (one, other, prefix, isOne) => {
    const counts = new ClientCounts(prefix);
    counts.add(one);
    expect(counts.of(other)).toBe(isOne ? 1 : 0);
  });

  it('agree with a map, for any sequence', () => {
    const counts = new ClientCounts(EACH);
    const expected = new Map<string, number>();
    const live: string[] = [];
    let seed = 1;
    const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
    for (let step = 0; step < 20_000; step += 1) {
      const isGrowing = step < 12_000;
      if (live.length === 0 || random(10) < (isGrowing ? 7 : 2)) {
        const host = random(2) === 0 ? `10.0.${random(20)}.${random(200)}` : `2001:db8::${random(4_000).toString(16)}`;
        live.push(host);
        counts.add(host);
        expected.set(host, (expected.get(host) ?? 0) + 1);
      } else {
        const at = random(live.length);
        const host = live[at] ?? '';
        live[at] = live.at(-1) ?? '';
        live.pop();
        counts.remove(host);
        const remaining = (expected.get(host) ?? 0) - 1;
        if (remaining === 0) expected.delete(host);
        else expected.set(host, remaining);
      }
    }
    expect(counts.size).toBe(expected.size);
    for (const [host, count] of expected) expect(counts.of(host)).toBe(count);
    for (const host of live) counts.remove(host);
    expect(counts.size).toBe(0);
  });

  it('are decremented for clients that a filter has given something other than an address', () => {
    const counts = new ClientCounts(EACH);
    counts.add('192.0.2.1');
    counts.add('somebody');
    counts.add('192.0.2.2');
    counts.remove('somebody');
    expect([counts.size, counts.of('192.0.2.1'), counts.of('192.0.2.2'), counts.of('nobody')]).toEqual([2, 1, 1, 0]);
  });

  it('of a client that was never added are none, and stay so', () => {
    const counts = new ClientCounts(EACH);
    counts.remove('192.0.2.1');
    expect([counts.of('192.0.2.1'), counts.size]).toEqual([0, 0]);
  });
});
