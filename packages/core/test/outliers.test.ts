import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ProxyEvent } from '../src/observe.ts';
import { Outliers } from '../src/pipeline/outliers.ts';
import type { OutlierOptions } from '../src/pipeline/outliers.ts';

const address = { host: '10.0.0.1', port: 1 };
const options = { consecutiveFailures: 3, baseEjectionMs: 1_000, maxEjectionMs: 2_500 };

let events: ProxyEvent[];
let outliers: Outliers;

beforeEach(() => {
  vi.useFakeTimers();
  events = [];
  outliers = new Outliers({ observe: (event) => void events.push(event) }, options);
});

afterEach(() => {
  outliers.clear();
  vi.useRealTimers();
});

function fail(times: number): void {
  for (let i = 0; i < times; i += 1) outliers.failed(address);
}

describe('settings', () => {
  const other = { host: '10.0.0.2', port: 1 };
  const judging = (over: Partial<OutlierOptions>): Outliers =>
    new Outliers({ observe: (event) => void events.push(event) }, { ...options, consecutiveFailures: 1, ...over });

  it('may round ejections to whole steps', () => {
    const judge = judging({ stepMs: 700 });
    judge.failed(address);
    expect(events).toMatchObject([{ type: 'backend.ejected', forMs: 1_400 }]);
    judge.clear();
  });

  it.each([
    [0.5, 2, 1],
    [0.1, 2, 1],
    [0, 2, 1],
    [1, 2, 2],
  ])('may bound the ejected part: %s of %i backends are %i', (maxEjected, among, expected) => {
    const judge = judging({ maxEjected });
    for (const one of [address, other]) judge.failed(one, among);
    expect(judge.ejected).toBe(expected);
    judge.clear();
  });

  it('without a bound eject an address of one route whatever is ejected of others', () => {
    const judge = judging({});
    for (const one of [address, other]) judge.failed(one, 1);
    expect(judge.ejected).toBe(2);
    judge.clear();
  });

  it('may have a probability, including zero', () => {
    const never = judging({ enforced: 0 });
    for (let turn = 0; turn < 20; turn += 1) never.failed(address);
    expect(never.ejected).toBe(0);
    const sometimes = judging({ enforced: 0.5 });
    for (let port = 1; port <= 400; port += 1) sometimes.failed({ host: '10.0.0.3', port });
    expect(sometimes.ejected).toBeGreaterThan(100);
    expect(sometimes.ejected).toBeLessThan(300);
    sometimes.clear();
  });

  it('apply to one detector alone, whose ejections count in the whole', () => {
    const strict = outliers.apart({ ...options, consecutiveFailures: 1 });
    const usual = outliers.apart();
    for (const part of [strict, usual]) part.failed(address);
    expect([strict, usual, outliers].map((each) => each.isEjected(address))).toEqual([true, false, true]);
    expect(outliers.ejected).toBe(1);
    outliers.clear();
    expect([strict.ejected, outliers.ejected]).toEqual([0, 0]);
  });
});

describe('a detector that has ended', () => {
  it('has no ejected addresses any more, and is not kept', () => {
    const strict = outliers.apart({ ...options, consecutiveFailures: 1 });
    strict.failed(address);
    expect(outliers.isEjected(address)).toBe(true);
    strict.end();
    expect([outliers.isEjected(address), outliers.ejected]).toEqual([false, 0]);
    expect(events.map(({ type }) => type)).toEqual(['backend.ejected', 'backend.returned']);
    strict.failed(address);
    expect(outliers.isEjected(address)).toBe(false);
    strict.clear();
  });
});

describe('an address', () => {
  it('is ejected after so many failures in a row, and returns by itself', () => {
    fail(2);
    expect(outliers.isEjected(address)).toBe(false);
    fail(1);
    expect(outliers.isEjected(address)).toBe(true);
    vi.advanceTimersByTime(1_000);
    expect(outliers.isEjected(address)).toBe(false);
    expect(events.map(({ type }) => type)).toEqual(['backend.ejected', 'backend.returned']);
  });

  it('is not ejected when a success comes between the failures', () => {
    fail(2);
    outliers.succeeded(address);
    fail(2);
    expect(outliers.isEjected(address)).toBe(false);
  });

  it('on probation is ejected again by one failure, each time for longer, up to a limit', () => {
    fail(3);
    for (let round = 0; round < 4; round += 1) {
      vi.advanceTimersByTime(2_500);
      fail(1);
    }
    const durations = events.flatMap((event) => (event.type === 'backend.ejected' ? [event.forMs] : []));
    expect(durations).toEqual([1_000, 2_000, 2_500, 2_500, 2_500]);
  });

  it('is back at once when a dial during its ejection succeeds', () => {
    fail(3);
    outliers.succeeded(address);
    expect(outliers.isEjected(address)).toBe(false);
    expect(outliers.ejected).toBe(0);
    vi.advanceTimersByTime(10_000);
    expect(events.filter(({ type }) => type === 'backend.returned')).toHaveLength(1);
  });

  it('whose dials still fail during its ejection is not ejected for longer', () => {
    fail(10);
    vi.advanceTimersByTime(1_000);
    expect(outliers.isEjected(address)).toBe(false);
  });
});

it('addresses with few failures are forgotten', () => {
  for (let i = 0; i < 1_000; i += 1) outliers.failed({ host: 'gone', port: i });
  vi.advanceTimersByTime(600_001);
  outliers.failed(address);
  fail(2);
  expect(outliers.isEjected(address)).toBe(true);
});
