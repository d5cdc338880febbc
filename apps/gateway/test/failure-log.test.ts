import { describe, expect, it } from 'vitest';
import { FailureLog } from '../src/log/failure-log.ts';

/** A log of failures, and its clock. */
function failureLog() {
  let now = 0;
  const log = new FailureLog(() => now);
  return { log, at: (ms: number) => (now = ms) };
}

describe('repeated failures', () => {
  it('have a line at once, then one a minute with the number of the others', () => {
    const { log, at } = failureLog();
    expect(log.failed('agent', 'refused')).toEqual({ kind: 'line', failingForMs: 0, repeats: 0 });
    for (const ms of [1_000, 30_000, 59_999]) {
      at(ms);
      expect(log.failed('agent', 'refused')).toEqual({ kind: 'silent' });
    }
    at(60_000);
    expect(log.failed('agent', 'refused')).toEqual({ kind: 'line', failingForMs: 60_000, repeats: 3 });
  });

  it('has a line for a new reason, but not for any number of them', () => {
    const { log } = failureLog();
    const kinds = ['a', 'b', 'a', 'c', 'd', 'e'].map((reason) => log.failed('agent', reason).kind);
    expect(kinds).toEqual(['line', 'line', 'silent', 'line', 'silent', 'silent']);
  });

  it('is independent of other failures', () => {
    const { log } = failureLog();
    expect([log.failed('a', 'x').kind, log.failed('b', 'x').kind]).toEqual(['line', 'line']);
  });

  it('reports for how long it had failed when it recovers', () => {
    const { log, at } = failureLog();
    log.failed('agent', 'refused');
    at(5_000);
    expect(log.recovered('agent')).toBe(5_000);
    expect(log.recovered('agent')).toBeUndefined();
    expect(log.recovered('other')).toBeUndefined();
  });

  it('has a pair of lines a minute when it flaps', () => {
    const { log, at } = failureLog();
    let lines = 0;
    for (let ms = 0; ms < 120_000; ms += 250) {
      at(ms);
      if (log.failed('agent', 'refused').kind === 'line') lines += 1;
      if (log.recovered('agent') !== undefined) lines += 1;
    }
    expect(lines).toBe(4);
  });

  it('do not use more memory for any number of subjects than for a thousand', () => {
    const { log } = failureLog();
    for (let index = 0; index < 5_000; index += 1) log.failed(`backend ${index}`, 'refused');
    expect(log.failed('backend 4999', 'refused').kind).toBe('silent');
    expect(log.failed('backend 0', 'refused').kind).toBe('line');
  });
});
