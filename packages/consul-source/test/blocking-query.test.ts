import { standInAgent } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { blockingQuery, hashQuery, openAgent } from '../src/index.ts';
import type { Agent } from '../src/index.ts';
import { scriptedAgent } from './scripted-agent.ts';
import type { Scripted } from './scripted-agent.ts';

describe('a blocking query', () => {
  it('reports changes, not an increased index', async () => {
    const { logged, queried } = await run(
      [at('5', 'a'), at('7', 'a'), at('7', 'a'), at('9', 'b')],
      (agent, signal) => blockingQuery(agent, { path: 'x' }, signal),
      2,
    );
    expect(logged.map(({ text }) => text)).toEqual(['a', 'b']);
    expect(queried).toEqual(['/v1/x', '/v1/x?index=5&wait=30s', '/v1/x?index=7&wait=30s', '/v1/x?index=7&wait=30s']);
  });

  it('starts over when the index decreases, and reports it', async () => {
    const { logged, queried } = await run(
      [at('500', 'a'), at('3', 'a'), at('4', 'a'), at('5', 'b')],
      (agent, signal) => blockingQuery(agent, { path: 'x' }, signal),
      3,
    );
    expect(logged.map(({ text, rewound }) => [text, rewound])).toEqual([
      ['a', false],
      ['a', true],
      ['b', false],
    ]);
    expect(queried).toEqual(['/v1/x', '/v1/x?index=500&wait=30s', '/v1/x', '/v1/x']);
  });

  it('ignores a response that is older than the previous one, and followed by a newer one', async () => {
    const { logged } = await run(
      [at('500', 'a'), at('3', 'older'), at('501', 'b')],
      (agent, signal) => blockingQuery(agent, { path: 'x' }, signal),
      2,
    );
    expect(logged.map(({ text, rewound }) => [text, rewound])).toEqual([
      ['a', false],
      ['b', false],
    ]);
  });

  it.each([[at('0', 'a')], [at('nonsense', 'a')], [{ body: 'a' }]])(
    'never queries below index 1: %j',
    async (first) => {
      const { queried } = await run(
        [first, at('2', 'b')],
        (agent, signal) => blockingQuery(agent, { path: 'x' }, signal),
        2,
      );
      expect(queried[1]).toBe('/v1/x?index=1&wait=30s');
    },
  );

  it('does not adopt the index of an error', async () => {
    const script = [{ status: 500, index: '1', body: 'No path to datacenter' }];
    const found = run(script, (agent, signal) => blockingQuery(agent, { path: 'x', query: { dc: 'no' } }, signal), 1);
    await expect(found).rejects.toThrow('/v1/x of no: expected status 200, found 500: No path to datacenter');
  });

  it('can follow something that does not exist yet', async () => {
    const { logged } = await run(
      [{ status: 404, index: '8', body: 'not found' }, at('9', 'there')],
      (agent, signal) => blockingQuery(agent, { path: 'x', mayBeMissing: true }, signal),
      2,
    );
    expect(logged.map(({ found }) => found)).toEqual([false, true]);
  });

  it('polls what is answered at once and without an index, as agents of 1.8 answer about intentions', async () => {
    const script = ['a', 'b', 'c'].map((body) => ({ body }));
    const startedAt = performance.now();
    const { queried } = await run(script, (agent, signal) => blockingQuery(agent, { path: 'x' }, signal), 3);
    expect(queried).toHaveLength(3);
    expect(performance.now() - startedAt).toBeGreaterThan(4_000);
  }, 15_000);

  it.each([
    ['504', { kind: 'status', status: 504 }],
    ['a reset', { kind: 'cut' }],
  ] as const)(
    'that is cut off by a proxy with %s is asked again at once, and held for less time',
    async (_how, fault) => {
      await using server = await standInAgent({ holdsAtMost: { ms: 1_500, fault } });
      const agent = openAgent({ address: server.address }, 1);
      const stop = new AbortController();
      const responses = blockingQuery(agent, { path: 'agent/connect/ca/roots' }, stop.signal);
      await responses.next();
      const changed = responses.next();
      await expect.poll(() => server.requests.length, { timeout: 10_000 }).toBe(5);
      server.change({ trustDomain: 'other.consul' });
      expect((await changed).value.text).toContain('other.consul');
      const [first, held, unheld, shorter] = server.requests;
      expect([first, unheld]).toEqual(Array.from({ length: 2 }, () => 'GET agent/connect/ca/roots'));
      expect(held).toContain('wait=30s');
      const [, ms] = /wait=(\d+)ms$/.exec(shorter ?? '') ?? [];
      expect(Number(ms)).toBeLessThan(1_500);
      stop.abort();
      await agent.close();
    },
    15_000,
  );

  it('ends without an open query when it is aborted', async () => {
    await using server = await scriptedAgent([at('5', 'a')]);
    const agent = openAgent({ address: server.address }, 1);
    const stop = new AbortController();
    const responses = blockingQuery(agent, { path: 'x' }, stop.signal);
    await responses.next();
    const held = responses.next();
    await expect.poll(() => server.queried.length).toBe(2);
    stop.abort(new Error('enough'));
    await expect(held).rejects.toThrow('enough');
    await agent.close();
  });
});

describe('a query by hash', () => {
  it('sends its hash, and queries without one for missing entries', async () => {
    const { logged, queried } = await run(
      [
        { status: 404, body: 'unknown service ID: x' },
        { hash: 'one', body: '1' },
        { hash: 'one', body: '1' },
        { hash: 'two', body: '2' },
      ],
      (agent, signal) => hashQuery(agent, { path: 'x' }, signal),
      3,
    );
    expect(logged.map(({ found, text }) => (found ? text : 'missing'))).toEqual(['missing', '1', '2']);
    expect(queried).toEqual(['/v1/x', '/v1/x', '/v1/x?hash=one&wait=30s', '/v1/x?hash=one&wait=30s']);
  });
});

function at(index: string, body: string): Scripted {
  return { index, body };
}

/** Follows until this many responses have arrived. */
async function run<T>(
  script: readonly Scripted[],
  follow: (agent: Agent, signal: AbortSignal) => AsyncGenerator<T>,
  count: number,
): Promise<{ readonly logged: readonly T[]; readonly queried: readonly string[] }> {
  await using server = await scriptedAgent(script);
  const agent = openAgent({ address: server.address }, 1);
  const logged: T[] = [];
  try {
    for await (const response of follow(agent, new AbortController().signal))
      if (logged.push(response) === count) break;
  } finally {
    await agent.close();
  }
  return { logged, queried: server.queried };
}
