import type { Route } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { LossDetector, StateLossGuard } from '../src/state-loss-guard.ts';
import type { Guarded, Observation } from '../src/state-loss-guard.ts';

const MINUTE_MS = 60_000;

describe('what Consul knew', () => {
  it('is removed at once when it was deregistered', () => {
    const guard = new StateLossGuard();
    apply(guard, observed(['db', 'web'], { index: 10 }), 0);
    expect(names(apply(guard, observed(['web'], { index: 11 }), 1))).toEqual(['web']);
  });

  it.each<readonly [what: string, after: Partial<Observation>]>([
    ['the index goes backwards', { index: 9 }],
    ['the trust domain is another', { trustDomain: 'new.consul' }],
    ['the agent does not know this gateway any more', { registered: false }],
    [
      'the servers do not show what the agent has registered',
      { incompleteReason: 'the servers do not show this gateway' },
    ],
  ])('is held when %s', (_what, after) => {
    const guard = new StateLossGuard();
    apply(guard, observed(['db', 'web'], { index: 10 }), 0);
    const held = apply(guard, observed(['web'], { index: 10, ...after }), 1);
    expect(names(held)).toEqual(['web', 'db']);
    expect(held.warning).toContain('1 route held');
  });

  it('is held for ten minutes, and not longer', () => {
    const guard = new StateLossGuard();
    apply(guard, observed(['db'], { index: 10 }), 0);
    apply(guard, observed([], { index: 1 }), 0);
    expect(names(apply(guard, observed([], { index: 2 }), 10 * MINUTE_MS - 1))).toEqual(['db']);
    expect(apply(guard, observed([], { index: 3 }), 10 * MINUTE_MS)).toEqual({ routes: [] });
  });

  it('survives a second loss of state', () => {
    const guard = new StateLossGuard();
    apply(guard, observed(['db'], { index: 10 }), 0);
    apply(guard, observed(['web'], { index: 5 }), 0);
    expect(names(apply(guard, observed([], { index: 1 }), MINUTE_MS))).toEqual(['web', 'db']);
  });

  it('is not held any more once it was confirmed: what is removed after that is gone at once', () => {
    const guard = new StateLossGuard();
    apply(guard, observed(['db', 'web'], { index: 10 }), 0);
    expect(names(apply(guard, observed(['web'], { index: 1 }), 1))).toEqual(['web', 'db']);
    apply(guard, observed(['web', 'db'], { index: 2 }), 2);
    expect(names(apply(guard, observed(['web'], { index: 3 }), 3))).toEqual(['web']);
  });

  it('is not held for an incompleteReason that has always been there', () => {
    const guard = new StateLossGuard();
    const incompleteReason = { incompleteReason: 'the token may see less than there is' };
    apply(guard, observed(['db', 'web'], { index: 10, ...incompleteReason }), 0);
    expect(names(apply(guard, observed(['web'], { index: 11, ...incompleteReason }), 1))).toEqual(['web']);
  });

  it("gives way to Consul's current data: by label and by server name", () => {
    const guard = new StateLossGuard();
    const renamed: Route = { ...route('other'), serverNames: ['db.consul'] };
    apply(guard, observed(['db', 'web'], { index: 10 }), 0);
    const now = guard.apply([renamed, route('web')], observed([], { index: 1 }), 1);
    expect(names(now)).toEqual(['other', 'web']);
    expect(now.warning).toBeUndefined();
  });
});

it('what vanishes during any sign of a loss is held, too, even if it was there at first', () => {
  const guard = new StateLossGuard();
  const seen = { trustDomain: 'td', index: 5, registered: true };
  const [one, two] = ['one', 'two'].map((name) => ({ name, serverNames: [name], backends: [] }));
  if (one === undefined || two === undefined) throw new Error('expected two routes');
  guard.apply([one, two], seen, 0);
  guard.apply([one, two], { ...seen, incompleteReason: 'blind' }, 10);
  expect(guard.apply([one], { ...seen, incompleteReason: 'blind' }, 500).routes).toEqual([one, two]);
  expect(guard.apply([one], seen, 1_000).routes).toEqual([one, two]);
});

it('what vanishes a moment after the last sign of a loss is held, too, and what vanishes later was removed', () => {
  const seen = { trustDomain: 'td', index: 5, registered: true };
  const [one, two] = ['one', 'two'].map(route) as [Route, Route];
  const lossOf = (guard: StateLossGuard): Guarded => {
    guard.apply([one, two], seen, 0);
    guard.apply([one, two], { ...seen, incompleteReason: 'blind' }, 10);
    return guard.apply([one, two], seen, 300);
  };
  const [delayed, removed] = [new StateLossGuard(), new StateLossGuard()];
  for (const guard of [delayed, removed]) expect(lossOf(guard).warning).toBeUndefined();
  expect(delayed.apply([one], seen, 600).routes).toEqual([one, two]);
  removed.apply([one, two], seen, 3_000);
  expect(removed.apply([one], seen, 4_000).routes).toEqual([one]);
});

it.each<readonly [string, { readonly lastSignAt?: number; readonly index?: number }, number]>([
  ['35 s after the last sign of a loss when Consul has kept its state', {}, 10 + 35_000],
  ['35 s after the last sign of a loss, however long it lasts', { lastSignAt: 300_000 }, 335_000],
  ['ten minutes after a sign of a loss that does not end', { lastSignAt: 599_000 }, 10 + 10 * MINUTE_MS],
  ['ten minutes after a loss of state', { index: 1 }, 10 + 10 * MINUTE_MS],
])('a removal at the moment of a sign of a loss takes effect %s', (_when, { lastSignAt = 10, index = 5 }, endsAt) => {
  const guard = new StateLossGuard();
  const [one, two] = ['one', 'two'].map(route) as [Route, Route];
  const seen = { trustDomain: 'td', index: 5, registered: true };
  const doubted = { ...seen, index, incompleteReason: 'the servers do not show this gateway' };
  guard.apply([one, two], seen, 0);
  for (let at = 10; at < lastSignAt; at += 10_000) guard.apply([one], doubted, at);
  guard.apply([one], doubted, lastSignAt);
  expect(guard.apply([one], { ...seen, index }, endsAt - 1).routes).toEqual([one, two]);
  expect(guard.apply([one], { ...seen, index }, endsAt)).toEqual({ routes: [one] });
});

it('what has vanished just before the first sign of a loss is held, too', () => {
  const guard = new StateLossGuard();
  const seen = { trustDomain: 'td', index: 5, registered: true };
  const one = { name: 'one', serverNames: ['one'], backends: [] };
  guard.apply([one], seen, 0);
  expect(guard.apply([], seen, 100).routes).toEqual([]);
  expect(guard.apply([], { ...seen, incompleteReason: 'blind' }, 200).routes).toEqual([one]);
});

it('a loss is reported for ten minutes, with any current sign of it', () => {
  const detector = new LossDetector();
  const seen = { trustDomain: 'td.consul', index: 1, registered: true };
  expect(detector.observe(seen, 0)).toBeUndefined();
  const incompleteReason = 'the servers do not show this proxy';
  expect(detector.observe({ ...seen, incompleteReason: incompleteReason }, 5)).toMatchObject({
    reason: incompleteReason,
    since: 5,
    isOngoing: true,
  });
  expect(detector.observe(seen, 9)).toMatchObject({ reason: incompleteReason, since: 5, isOngoing: true });
  expect(detector.observe(seen, 2_005)).toMatchObject({ reason: incompleteReason, since: 5, isOngoing: false });
  expect(detector.observe(seen, 5 + 10 * MINUTE_MS)).toBeUndefined();
});

interface Observed extends Observation {
  readonly routes: readonly Route[];
}

function observed(services: readonly string[], over: Partial<Observation>): Observed {
  return { routes: services.map(route), trustDomain: 'td.consul', index: 1, registered: true, ...over };
}

function apply(guard: StateLossGuard, { routes, ...observation }: Observed, now: number): Guarded {
  return guard.apply(routes, observation, now);
}

function route(name: string): Route {
  return { name, serverNames: [`${name}.consul`], backends: [] };
}

function names({ routes }: { readonly routes: readonly Route[] }): readonly string[] {
  return routes.map(({ name }) => name);
}
