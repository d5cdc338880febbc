import { describe, expect, it } from 'vitest';
import { expectationOf, problemsOf } from '../src/judgement.ts';
import type { Outcome } from '../src/judgement.ts';
import type { Datacenter } from '../src/picture.ts';

const RIGHT: Outcome = {
  from: 'web',
  to: 'db',
  expected: { mode: 'local', decidedBy: 'upstream definition', gateways: ['primary', 'secondary'] },
  mode: 'local',
  decidedBy: 'upstream definition',
  gateways: ['primary', 'secondary'],
  hops: ['sidecar of web', 'gateway of primary', 'gateway of secondary', 'sidecar of db'].map((by) => ({
    by,
    dialled: '',
  })),
  response: 'db in secondary answers',
};
const BOTH: readonly Datacenter[] = ['primary', 'secondary'];

describe('the deviations of a request', () => {
  it('are none when it is as expected', () => {
    expect(problemsOf(RIGHT, BOTH)).toEqual([]);
  });

  it.each<readonly [Partial<Outcome>, readonly Datacenter[], string]>([
    [{ mode: 'remote' }, BOTH, 'mode: expected local, found remote'],
    [{ decidedBy: 'proxy defaults' }, BOTH, 'decided by: expected upstream definition, found proxy defaults'],
    [{ gateways: ['secondary'] }, ['secondary'], "path: expected both gateways, found secondary's gateway"],
    [{ gateways: [] }, [], 'path: expected both gateways, found direct, no gateway'],
    [{}, ['secondary'], "counters: expected both gateways, found secondary's gateway"],
    [{ hops: RIGHT.hops.slice(0, -1) }, BOTH, 'arrived at: expected sidecar of db, found gateway of secondary'],
    [{ response: undefined }, BOTH, 'answer: expected db in secondary answers, found none'],
    [{ response: 'logging in secondary answers' }, BOTH, 'answer: expected db in secondary answers, found logging'],
  ])('is reported: %j, counted by %j', (change, counts, problem) => {
    const problems = problemsOf({ ...RIGHT, ...change }, counts);
    expect(problems).toEqual([expect.stringContaining(problem)]);
  });

  it('in the mode none include a gateway that has counted a connection', () => {
    const expected = { mode: 'none', decidedBy: 'upstream definition', gateways: [] };
    const direct = { ...RIGHT, expected, mode: 'none', gateways: [] };
    expect(problemsOf(direct, [])).toEqual([]);
    expect(problemsOf(direct, ['primary'])).toEqual(["counters: expected direct, no gateway, found primary's gateway"]);
  });
});

describe('the path of a mode', () => {
  it.each([
    ['local', 'db', ['primary', 'secondary']],
    ['remote', 'db', ['secondary']],
    ['none', 'db', []],
    ['unset', 'db', []],
    ['local', 'orders', []],
  ])('%s to %s: %j', (mode, to, gateways) => {
    expect(expectationOf({ from: 'web', to }, { mode, decidedBy: '' }).gateways).toEqual(gateways);
  });
});
