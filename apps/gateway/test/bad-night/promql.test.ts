import { ALERTS } from '@meshgate/metrics';
import { describe, expect, it } from 'vitest';
import { holds, samplesOf } from './promql.ts';
import type { Sample, Scrape } from './promql.ts';

/** Series as `promtool test rules` writes them: a value a minute. */
function nightOf(example: Readonly<Record<string, string>>): readonly Scrape[] {
  return Array.from({ length: 21 }, (_, minute) => ({
    at: minute * 60,
    unixTime: minute * 60,
    samples: Object.entries(example).flatMap(([series, values]): readonly Sample[] => {
      const [, start = '', , step = '0', count = ''] = /^(\d+)(\+(\d+))?x(\d+)$/.exec(values) ?? [];
      return minute > Number(count) ? [] : samplesOf(`${series} ${Number(start) + minute * Number(step)}`);
    }),
  }));
}

describe('the expressions of alerts', () => {
  it.each(ALERTS.map(({ alert, expr, example }) => [alert, expr, example] as const))(
    '%s fires on the night on which it fires for promtool, and not on one without any of its series',
    (_alert, expr, example) => {
      const night = nightOf(example);
      expect(holds(expr, night)).toBe(true);
      expect(
        holds(
          expr,
          night.map((scrape) => ({ ...scrape, samples: [] })),
        ),
      ).toBe(false);
    },
  );
});

describe('a rate', () => {
  const scrapes = (...values: readonly (number | undefined)[]): readonly Scrape[] =>
    values.map((value, minute) => ({
      at: minute * 60,
      unixTime: 0,
      samples: value === undefined ? [] : samplesOf(`c_total{route="a"} ${value}`),
    }));

  it.each([
    ['of a counter that grows', scrapes(0, 1, 2), 'rate(c_total[5m]) > 0', true],
    ['of one that stands', scrapes(3, 3, 3), 'rate(c_total[5m]) > 0', false],
    ['of one that has grown before the range', scrapes(0, 3, 3, 3), 'rate(c_total[1m]) > 0', false],
    ['of one that has been seen once', scrapes(undefined, 5), 'rate(c_total[5m]) > 0', false],
    ['of one that began anew', scrapes(9, 1), 'increase(c_total[5m]) == 1', true],
    ['of another label', scrapes(0, 1), 'rate(c_total{route=~"b|c"}[5m]) > 0', false],
  ])('%s', (_claim, series, expr, expected) => {
    expect(holds(expr, series)).toBe(expected);
  });
});
