import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { MaxAges } from '../src/pipeline/max-ages.ts';

function aging() {
  const cuts: string[] = [];
  return {
    cuts,
    session: {
      cut: ({ code }: { readonly code: string }): boolean => {
        cuts.push(code);
        return true;
      },
    },
  };
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

describe('the maximum age', () => {
  it('ends a connection that has lasted for so long', () => {
    const ages = new MaxAges();
    const { session, cuts } = aging();
    ages.begin(session, 1_000);
    vi.advanceTimersByTime(899);
    expect(cuts).toEqual([]);
    vi.advanceTimersByTime(101);
    expect(cuts).toEqual(['MAX_AGE']);
  });

  it('counts from the first backend when another one replaces it', () => {
    const ages = new MaxAges();
    const { session, cuts } = aging();
    ages.begin(session, 1_000);
    vi.advanceTimersByTime(500);
    ages.begin(session, 1_000);
    vi.advanceTimersByTime(500);
    expect(cuts).toEqual(['MAX_AGE']);
  });

  it('leaves nothing to do for a connection that has ended, however many backends it had', () => {
    const ages = new MaxAges();
    const { session, cuts } = aging();
    ages.begin(session, 1_000);
    ages.begin(session, 1_000);
    ages.end(session);
    vi.advanceTimersByTime(5_000);
    expect(cuts).toEqual([]);
  });
});
