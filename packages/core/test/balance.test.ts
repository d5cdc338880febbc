import { describe, expect, it } from 'vitest';
import { picker } from '../src/pipeline/balance.ts';
import type { Backend } from '../src/routes/route.ts';

function backend(host: string, weight = 1): Backend {
  return { address: { host, port: 1 }, weight, healthy: true };
}

/** Numbers in [0, 1) that repeat from run to run. */
function seeded(): () => number {
  let state = 42;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

const idle = { load: () => 0, random: seeded() };

function counts(picks: readonly Backend[]): Record<string, number> {
  const all: Record<string, number> = {};
  for (const { address } of picks) all[address.host] = (all[address.host] ?? 0) + 1;
  return all;
}

describe('round robin', () => {
  it('gives each backend exactly its share of every full round', () => {
    const from = [backend('a', 5), backend('b', 1), backend('c', 2)];
    const { pick } = picker('round_robin', idle);
    const picks = Array.from({ length: 80 }, () => pick(from));
    expect(counts(picks)).toEqual({ a: 50, b: 10, c: 20 });
  });

  it('does not give a heavy backend its share in one go', () => {
    const from = [backend('a', 4), backend('b', 4)];
    const { pick } = picker('round_robin', idle);
    const hosts = Array.from({ length: 20 }, () => pick(from).address.host).join('');
    expect(hosts).toMatch(/^(ab)+$|^(ba)+$/);
  });

  it('begins anywhere, so that many gateways do not favour the first', () => {
    const from = [backend('a'), backend('b'), backend('c')];
    const random = seeded();
    const firsts = Array.from({ length: 300 }, () => picker('round_robin', { load: () => 0, random }).pick(from));
    for (const count of Object.values(counts(firsts))) expect(count).toBeGreaterThan(50);
  });

  it('goes on when backends come and go', () => {
    const { pick } = picker('round_robin', idle);
    const [a, b] = [backend('a'), backend('b')];
    expect([pick([a]), pick([a, b]), pick([b])]).toHaveLength(3);
  });
});

describe('least connections', () => {
  it('takes the less busy of two, by weight', () => {
    const loads: Record<string, number> = { a: 9, b: 5 };
    const { pick } = picker('least_connections', { load: ({ address }) => loads[address.host] ?? 0, random: seeded() });
    const from = [backend('a', 3), backend('b', 1)];
    const picks = Array.from({ length: 200 }, () => pick(from));
    // b is chosen only when it was drawn twice: about one draw in sixteen.
    expect(counts(picks)['b'] ?? 0).toBeLessThan(40);
  });

  it('never takes the busiest when others are drawn with it', () => {
    const { pick } = picker('least_connections', {
      load: ({ address }) => (address.host === 'a' ? 100 : 0),
      random: seeded(),
    });
    const from = [backend('a'), backend('b'), backend('c'), backend('d')];
    const share = (counts(Array.from({ length: 1_600 }, () => pick(from)))['a'] ?? 0) / 1_600;
    expect(share).toBeLessThan(1 / 8);
  });
});

it('random follows the weights', () => {
  const { pick } = picker('random', { load: () => 0, random: seeded() });
  const from = [backend('a', 3), backend('b', 1)];
  const { a = 0 } = counts(Array.from({ length: 4_000 }, () => pick(from)));
  expect(a / 4_000).toBeGreaterThan(0.72);
  expect(a / 4_000).toBeLessThan(0.78);
});

it('choosing from nothing is a bug and says so', () => {
  for (const balance of ['round_robin', 'random'] as const) {
    expect(() => picker(balance, idle).pick([])).toThrow('expected at least one backend');
  }
});
