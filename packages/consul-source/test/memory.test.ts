import type { Route } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { Memory } from '../src/memory.ts';
import type { Account } from '../src/memory.ts';

const MINUTE_MS = 60_000;

describe('what Consul knew', () => {
  it('is gone at once when it was removed', () => {
    const memory = new Memory();
    memory.recall(account(['db', 'web'], { index: 10 }), 0);
    expect(names(memory.recall(account(['web'], { index: 11 }), 1))).toEqual(['web']);
  });

  it.each<readonly [what: string, after: Partial<Account>]>([
    ['the index goes backwards', { index: 9 }],
    ['the trust domain is another', { trustDomain: 'new.consul' }],
    ['the agent does not know this gateway any more', { registered: false }],
  ])('is held when %s', (_what, after) => {
    const memory = new Memory();
    memory.recall(account(['db', 'web'], { index: 10 }), 0);
    const held = memory.recall(account(['web'], { index: 10, ...after }), 1);
    expect(names(held)).toEqual(['web', 'db']);
    expect(held.warning).toContain('1 routes are held');
  });

  it('is held for ten minutes, and not longer', () => {
    const memory = new Memory();
    memory.recall(account(['db'], { index: 10 }), 0);
    memory.recall(account([], { index: 1 }), 0);
    expect(names(memory.recall(account([], { index: 2 }), 10 * MINUTE_MS - 1))).toEqual(['db']);
    expect(memory.recall(account([], { index: 3 }), 10 * MINUTE_MS)).toEqual({ routes: [] });
  });

  it('survives that the state is lost twice', () => {
    const memory = new Memory();
    memory.recall(account(['db'], { index: 10 }), 0);
    memory.recall(account(['web'], { index: 5 }), 0);
    expect(names(memory.recall(account([], { index: 1 }), MINUTE_MS))).toEqual(['web', 'db']);
  });

  it('gives way to what Consul says now: by label and by server name', () => {
    const memory = new Memory();
    const renamed: Route = { ...route('other'), serverNames: ['db.consul'] };
    memory.recall(account(['db', 'web'], { index: 10 }), 0);
    const now = memory.recall({ ...account([], { index: 1 }), routes: [renamed, route('web')] }, 0);
    expect(names(now)).toEqual(['other', 'web']);
    expect(now.warning).toBeUndefined();
  });
});

function account(services: readonly string[], over: Partial<Account>): Account {
  return { routes: services.map(route), trustDomain: 'td.consul', index: 1, registered: true, ...over };
}

function route(name: string): Route {
  return { name, serverNames: [`${name}.consul`], backends: [] };
}

function names({ routes }: { readonly routes: readonly Route[] }): readonly string[] {
  return routes.map(({ name }) => name);
}
