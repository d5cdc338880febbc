import { describe, expect, it } from 'vitest';
import { Line } from '../src/line.ts';

describe('a line', () => {
  const orders: readonly [claim: string, leaving: readonly string[], left: readonly string[]][] = [
    ['whoever stays', [], ['a', 'b', 'c']],
    ['the rest when the first leaves', ['a'], ['b', 'c']],
    ['the rest when the last leaves', ['c'], ['a', 'b']],
    ['the rest when one leaves from the middle', ['b'], ['a', 'c']],
    ['the last one', ['b', 'a'], ['c']],
    ['nobody when all have left', ['a', 'b', 'c'], []],
    ['nobody when all have left from behind', ['c', 'b', 'a'], []],
    ['nobody twice, and who leaves twice leaves once', ['b', 'b'], ['a', 'c']],
  ];
  it.each(orders)('has in their order: %s', (_claim, leaving, left) => {
    const line = new Line<string>();
    const places = new Map(['a', 'b', 'c'].map((one) => [one, line.enter(one)]));
    for (const one of leaving) {
      const place = places.get(one);
      if (place !== undefined) line.leave(place);
    }
    expect([...line]).toEqual(left);
    expect(line.size).toBe(left.length);
    expect(line.first?.one).toBe(left[0]);
    line.enter('d');
    expect([...line]).toEqual([...left, 'd']);
  });

  it('has nothing to do with who has left: no reference leads from there to who is still in it', () => {
    const line = new Line<string>();
    const places = ['a', 'b', 'c'].map((one) => line.enter(one));
    for (const place of places) line.leave(place);
    expect(places).toEqual(['a', 'b', 'c'].map((one) => ({ one, earlier: undefined, later: undefined })));
  });

  it('can be left by whoever is being looked at', () => {
    const line = new Line<number>();
    const places = new Map([1, 2, 3].map((one) => [one, line.enter(one)]));
    const seen: number[] = [];
    for (const one of line) {
      seen.push(one);
      const place = places.get(one);
      if (place !== undefined) line.leave(place);
    }
    expect(seen).toEqual([1, 2, 3]);
    expect(line.size).toBe(0);
  });
});
