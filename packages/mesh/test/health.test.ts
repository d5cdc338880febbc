import { describe, expect, it } from 'vitest';
import { instanceHealth } from '../src/index.ts';
import type { CheckStatus } from '../src/index.ts';
import { instance } from './instance.ts';

interface Row {
  readonly checks: readonly CheckStatus[];
  readonly weights?: readonly [passing: number, warning: number];
  readonly onlyPassing?: boolean;
  readonly expected: readonly [healthy: boolean, weight: number];
}

const ROWS: readonly Row[] = [
  { checks: [], expected: [true, 1] },
  { checks: ['passing'], expected: [true, 1] },
  { checks: ['passing'], weights: [5, 3], expected: [true, 5] },
  { checks: ['passing', 'warning'], weights: [5, 3], expected: [true, 3] },
  { checks: ['warning'], expected: [true, 1] },
  { checks: ['warning'], weights: [5, 3], onlyPassing: true, expected: [false, 3] },
  { checks: ['critical'], weights: [5, 3], expected: [false, 5] },
  { checks: ['passing', 'critical'], onlyPassing: true, expected: [false, 1] },
  { checks: ['critical', 'warning'], weights: [5, 3], expected: [false, 3] },
  { checks: ['passing'], weights: [300, 1], expected: [true, 128] },
  { checks: ['passing'], weights: [0, 1], expected: [false, 1] },
  { checks: ['warning'], weights: [4, 0], expected: [false, 1] },
  { checks: ['warning'], weights: [4, 0], onlyPassing: true, expected: [false, 1] },
  { checks: ['unknown'], expected: [true, 1] },
  { checks: ['unknown'], onlyPassing: true, expected: [false, 1] },
];

describe('the health of an instance', () => {
  it.each(ROWS)('with $checks, weights $weights, onlyPassing $onlyPassing is $expected', (row) => {
    const { checks, weights, onlyPassing = false } = row;
    const found = instanceHealth(
      instance('db', {
        checks: checks.map((status) => ({ id: 'check', status })),
        ...(weights === undefined ? {} : { weights: { passing: weights[0], warning: weights[1] } }),
      }),
      onlyPassing,
    );
    expect([found.healthy, found.weight]).toEqual(row.expected);
  });

  it('names the failing checks', () => {
    const checks = [
      { id: 'serfHealth', status: 'passing' },
      { id: '_service_maintenance:db', status: 'critical' },
    ] as const;
    expect(instanceHealth(instance('db', { checks }), false).against).toEqual(['_service_maintenance:db critical']);
  });
});
