import { DEFAULT_LIMITS } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { limitsFor, thisMachine } from '../src/run/machine.ts';
import { workerCount } from '../src/workers/shares.ts';

const GIB = 2 ** 30;
const auto = { ...DEFAULT_LIMITS, connections: 'auto', pendingHellos: 'auto' } as const;

describe('limits that are set to auto', () => {
  it.each([
    {
      descriptors: 20_128,
      memoryBytes: 64 * GIB,
      connections: 10_000,
      pendingHellos: 1_000,
      why: 'two descriptors each',
    },
    {
      descriptors: 10_000_000,
      memoryBytes: 2 * GIB,
      connections: 16_384,
      pendingHellos: 1_638,
      why: 'half of the memory',
    },
    { descriptors: 1_024, memoryBytes: 64 * GIB, connections: 448, pendingHellos: 44, why: 'the usual soft limit' },
    { descriptors: 100, memoryBytes: 64 * GIB, connections: 64, pendingHellos: 32, why: 'the least that makes sense' },
  ])('are $connections and $pendingHellos: $why', ({ descriptors, memoryBytes, connections, pendingHellos }) => {
    expect(limitsFor(auto, { descriptors, memoryBytes })).toMatchObject({ connections, pendingHellos });
  });

  it('are overridden by configured ones, and there are never more hellos than connections', () => {
    const machine = { descriptors: 1_024, memoryBytes: GIB };
    expect(limitsFor({ ...auto, connections: 5_000 }, machine)).toMatchObject({
      connections: 5_000,
      pendingHellos: 500,
    });
    expect(limitsFor({ ...auto, connections: 5, pendingHellos: 7 }, machine)).toMatchObject({
      connections: 5,
      pendingHellos: 5,
    });
  });
});

describe('this machine', () => {
  it('has descriptors and memory', () => {
    const { descriptors, memoryBytes } = thisMachine();
    expect(descriptors).toBeGreaterThan(64);
    expect(memoryBytes).toBeGreaterThan(2 ** 26);
  });
});

describe('workers: auto', () => {
  it.each([
    { processors: 8, memoryBytes: 64 * GIB, count: 8, why: 'one for each processor' },
    { processors: 8, memoryBytes: GIB, count: 5, why: 'half of the memory' },
    { processors: 2, memoryBytes: 100 * 1024 * 1024, count: 1, why: 'at least one' },
  ])('are $count: $why', ({ processors, memoryBytes, count }) => {
    expect(workerCount('auto', { processors, memoryBytes })).toBe(count);
  });
});
