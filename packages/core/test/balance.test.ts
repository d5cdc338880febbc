import { describe, expect, it } from 'vitest';
import { picker } from '../src/pipeline/balance.ts';
import type { BalancedClient } from '../src/pipeline/picker.ts';
import type { Backend } from '../src/routes/route.ts';

function backend(host: string, weight = 1): Backend {
  return { address: { host, port: 1 }, weight, healthy: true };
}

function client(host: string, serverName = 'a.example'): BalancedClient {
  const local = { host: '192.0.2.1', port: 443 };
  const connection = { id: '1', listener: 'l', remote: { host, port: 50_000 }, local, at: 0 };
  return { connection, hello: { protocol: 'tls', serverName } };
}

const CLIENT = client('192.0.2.7');

/** Pseudo-random numbers in [0, 1), the same in every run. */
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
    const picks = Array.from({ length: 80 }, () => pick(from, CLIENT));
    expect(counts(picks)).toEqual({ a: 50, b: 10, c: 20 });
  });

  it('spreads the share of a heavy backend over the round', () => {
    const from = [backend('a', 4), backend('b', 4)];
    const { pick } = picker('round_robin', idle);
    const hosts = Array.from({ length: 20 }, () => pick(from, CLIENT).address.host).join('');
    expect(hosts).toMatch(/^(ab)+$|^(ba)+$/);
  });

  it('starts at a random index, so that many gateways do not favour the first backend', () => {
    const from = [backend('a'), backend('b'), backend('c')];
    const random = seeded();
    const firsts = Array.from({ length: 300 }, () =>
      picker('round_robin', { load: () => 0, random }).pick(from, CLIENT),
    );
    for (const count of Object.values(counts(firsts))) expect(count).toBeGreaterThan(50);
  });

  it('keeps working when backends come and go', () => {
    const { pick } = picker('round_robin', idle);
    const [a, b] = [backend('a'), backend('b')];
    expect([pick([a], CLIENT), pick([a, b], CLIENT), pick([b], CLIENT)]).toHaveLength(3);
  });
});

describe('least connections', () => {
  it('uses the less busy of two, by weight', () => {
    const loads: Record<string, number> = { a: 9, b: 5 };
    const { pick } = picker('least_connections', { load: ({ address }) => loads[address.host] ?? 0, random: seeded() });
    const from = [backend('a', 3), backend('b', 1)];
    const picks = Array.from({ length: 200 }, () => pick(from, CLIENT));
    // b is only chosen if it was drawn twice: about one draw in sixteen.
    expect(counts(picks)['b'] ?? 0).toBeLessThan(40);
  });

  it('never uses the busiest when others are drawn with it', () => {
    const { pick } = picker('least_connections', {
      load: ({ address }) => (address.host === 'a' ? 100 : 0),
      random: seeded(),
    });
    const from = [backend('a'), backend('b'), backend('c'), backend('d')];
    const share = (counts(Array.from({ length: 1_600 }, () => pick(from, CLIENT)))['a'] ?? 0) / 1_600;
    expect(share).toBeLessThan(1 / 8);
  });
});

it('random follows the weights', () => {
  const { pick } = picker('random', { load: () => 0, random: seeded() });
  const from = [backend('a', 3), backend('b', 1)];
  const { a = 0 } = counts(Array.from({ length: 4_000 }, () => pick(from, CLIENT)));
  expect(a / 4_000).toBeGreaterThan(0.72);
  expect(a / 4_000).toBeLessThan(0.78);
});

it('choosing from nothing is a bug with a message', () => {
  for (const balance of ['round_robin', 'random'] as const) {
    expect(() => picker(balance, idle).pick([], CLIENT)).toThrow('expected at least one backend');
  }
});

/** This many IPv4 addresses. */
function addresses(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`);
}

const ten = Array.from({ length: 10 }, (_, index) => backend(`b${index}`));

describe('client hash', () => {
  const { pick } = picker('client_hash', idle);

  it('gives a client the same backend each time, in every process, and after a reload', () => {
    const other = picker('client_hash', { load: () => 0, random: Math.random });
    const reloaded = ten.map(({ address }) => ({ ...backend(address.host) })).toReversed();
    for (const host of addresses(200))
      expect(other.pick(reloaded, client(host)).address).toEqual(pick(ten, client(host)).address);
  });

  it('follows the weights', () => {
    const from = [backend('a', 3), backend('b', 1)];
    const share = (counts(addresses(8_000).map((host) => pick(from, client(host))))['a'] ?? 0) / 8_000;
    expect(share).toBeGreaterThan(0.73);
    expect(share).toBeLessThan(0.77);
  });

  it('moves only the clients of a removed backend, and spreads them over the others', () => {
    const hosts = addresses(5_000);
    const before = hosts.map((host) => pick(ten, client(host)));
    const after = hosts.map((host) => pick(ten.slice(1), client(host)));
    const moved = before.flatMap((one, index) => (one === after[index] ? [] : [[one, after[index]] as const]));
    expect(moved.every(([one]) => one === ten[0])).toBe(true);
    expect(moved.length / 5_000).toBeLessThan(0.13);
    for (const count of Object.values(counts(moved.map(([, to = backend('none')]) => to))))
      expect(count / moved.length).toBeLessThan(0.2);
  });

  it('moves no more than its share to a new backend', () => {
    const hosts = addresses(5_000);
    const moved = hosts.filter((host) => pick(ten, client(host)) !== pick(ten.slice(0, 9), client(host)));
    expect(moved.every((host) => pick(ten, client(host)) === ten[9])).toBe(true);
    expect(moved.length / 5_000).toBeLessThan(0.13);
  });

  it('moves clients to a backend with an increased weight, and away from one with a decreased weight, and no others', () => {
    const hosts = addresses(5_000);
    const heavier = ten.map((one) => (one === ten[3] ? { ...one, weight: 3 } : one));
    const chosen = (from: readonly Backend[]): readonly string[] =>
      hosts.map((host) => pick(from, client(host)).address.host);
    const [before, after] = [chosen(ten), chosen(heavier)];
    const moved = hosts.filter((_host, index) => before[index] !== after[index]);
    expect(hosts.every((_host, index) => before[index] === after[index] || after[index] === 'b3')).toBe(true);
    // From a tenth to three twelfths.
    expect(moved.length / 5_000).toBeGreaterThan(0.12);
    expect(moved.length / 5_000).toBeLessThan(0.18);
  });

  it('returns each client to its backend after others were added and removed', () => {
    const hosts = addresses(500);
    const before = hosts.map((host) => pick(ten, client(host)));
    const random = seeded();
    for (let round = 0; round < 20; round += 1) {
      const some = ten.filter(() => random() < 0.6);
      if (some.length === 0) continue;
      for (const [index, host] of hosts.entries()) {
        const own = before[index] as Backend;
        if (some.includes(own)) expect(pick(some, client(host))).toBe(own);
      }
    }
    expect(hosts.map((host) => pick(ten, client(host)))).toEqual(before);
  });

  it('treats a /64 of IPv6 as one client, and IPv4-mapped IPv6 as IPv4', () => {
    const privacy = Array.from({ length: 50 }, (_, index) => `2001:db8:1:2:${index.toString(16)}::1`);
    expect(new Set(privacy.map((host) => pick(ten, client(host)))).size).toBe(1);
    const networks = Array.from({ length: 50 }, (_, index) => `2001:db8:${index.toString(16)}::1`);
    expect(new Set(networks.map((host) => pick(ten, client(host)))).size).toBeGreaterThan(5);
    for (const host of addresses(20)) expect(pick(ten, client(`::ffff:${host}`))).toBe(pick(ten, client(host)));
  });

  it('keeps the load of a backend within a quarter more than its share', () => {
    const loads = new Map<Backend, number>();
    const load = (one: Backend): number => loads.get(one) ?? 0;
    const bounded = picker('client_hash', { load, random: seeded() });
    const from = [backend('a', 2), backend('b'), backend('c'), backend('d')];
    for (let turn = 0; turn < 1_000; turn += 1) {
      const chosen = bounded.pick(from, CLIENT);
      loads.set(chosen, load(chosen) + 1);
    }
    for (const one of from) expect(load(one)).toBeLessThanOrEqual(Math.ceil((1_000 * 1.25 * one.weight) / 5));
  });

  it('keeps the first eight connections of a client together', () => {
    let count = 0;
    const bounded = picker('client_hash', { load: () => count, random: seeded() });
    const [first] = [bounded.pick(ten, CLIENT)];
    for (count = 1; count < 8; count += 1) expect(bounded.pick(ten, CLIENT)).toBe(first);
  });
});

describe('name hash', () => {
  const { pick } = picker('name_hash', idle);

  it('gives all clients of a name one backend, and spreads the names', () => {
    const names = Array.from({ length: 3_000 }, (_, index) => `tenant-${index}.example.com`);
    const chosen = names.map((name) => pick(ten, client('10.0.0.1', name)));
    expect(names.map((name) => pick(ten, client('10.9.9.9', name)))).toEqual(chosen);
    for (const count of Object.values(counts(chosen))) {
      expect(count).toBeGreaterThan(220);
      expect(count).toBeLessThan(380);
    }
  });
});
