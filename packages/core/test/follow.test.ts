import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { backoff } from '../src/watch/backoff.ts';
import { pause } from '../src/watch/scope.ts';
import { follow } from '../src/watch/follow.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('pauses between tries', () => {
  it('double up to a limit', () => {
    const pauses = backoff({ firstMs: 100, maxMs: 500 }, () => 0);
    expect(Array.from({ length: 5 }, () => pauses.next().value)).toEqual([100, 200, 400, 500, 500]);
  });

  it('are shortened at random by up to a half', () => {
    expect(backoff({ firstMs: 100, maxMs: 500 }, () => 0.999).next().value).toBeCloseTo(50, 0);
  });

  it('end early when the signal aborts, and leave no timer', async () => {
    const stopper = new AbortController();
    const paused = pause(60_000, stopper.signal);
    stopper.abort();
    await paused;
    await pause(60_000, stopper.signal);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a followed source', () => {
  it.each<readonly [found: string, watch: () => unknown]>([
    ['a promise', async () => []],
    ['a promise', () => Promise.reject(new Error('later'))],
    ['nothing', () => undefined],
    ['a number', () => 5],
  ])('that does not return a sequence is told what is expected: %s', async (found, watch) => {
    const stopper = new AbortController();
    const failure = new Promise<Error>((resolve) => {
      const follower = { onValue: () => undefined, onFailure: resolve };
      void follow(() => watch() as AsyncIterable<never>, stopper.signal, follower);
    });
    expect((await failure).message).toBe(
      `expected watch() to return an async iterable, as async *watch() does, found ${found}`,
    );
    stopper.abort();
  });

  async function followed(
    runs: readonly (readonly number[] | Error)[],
  ): Promise<{ values: number[]; failures: string[] }> {
    const stopper = new AbortController();
    const [values, failures] = [[] as number[], [] as string[]];
    let run = 0;
    const following = follow(watch, stopper.signal, {
      onValue: (value) => void values.push(value),
      onFailure: (error) => void failures.push(error.message),
    });
    await vi.advanceTimersByTimeAsync(120_000);
    await following;
    return { values, failures };

    async function* watch(signal: AbortSignal): AsyncGenerator<number> {
      const words = runs[run];
      run += 1;
      if (words instanceof Error) throw words;
      if (words === undefined) stopper.abort();
      if (signal.aborted) return;
      yield* words ?? [];
    }
  }

  it('is started again after it throws', async () => {
    expect(await followed([[1, 2], new Error('lost'), [3]])).toEqual({
      values: [1, 2, 3],
      failures: ['ended although its signal had not aborted', 'lost', 'ended although its signal had not aborted'],
    });
  });
});
