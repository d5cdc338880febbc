import { describe, expect, it } from 'vitest';
import { traceOf } from '../src/index.ts';

function random(fill: (index: number) => number): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, index) => fill(index));
}

describe('the trace of a connection', () => {
  it('is an integer that fits 13 hexadecimal digits', () => {
    for (let seed = 0; seed < 1_000; seed += 1) {
      const trace = traceOf(random((index) => (seed * 31 + index * 7) & 255));
      expect(Number.isSafeInteger(trace) && trace >= 0 && trace < 2 ** 52).toBe(true);
    }
  });

  it('differs when any bit of the random does', () => {
    const zeros = random(() => 0);
    const traces = new Set([traceOf(zeros)]);
    for (let bit = 0; bit < 256; bit += 1)
      traces.add(traceOf(random((index) => (index === bit >> 3 ? 1 << (bit & 7) : 0))));
    expect(traces.size).toBe(257);
  });

  it('is that of the 32 bytes from the given start', () => {
    const bytes = random((index) => index);
    expect(traceOf(Buffer.concat([Buffer.from('xyz'), bytes, Buffer.from('tail')]), 3)).toBe(traceOf(bytes));
  });
});
