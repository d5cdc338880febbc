import { describe, expect, it } from 'vitest';
import { LinkedList } from '../src/pipeline/linked-list.ts';

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
    const line = new LinkedList<string>();
    const places = new Map(['a', 'b', 'c'].map((one) => [one, line.push(one)]));
    for (const one of leaving) {
      const node = places.get(one);
      if (node !== undefined) line.remove(node);
    }
    expect([...line]).toEqual(left);
    expect(line.size).toBe(left.length);
    expect(line.first?.one).toBe(left[0]);
    line.push('d');
    expect([...line]).toEqual([...left, 'd']);
  });

  it('has nothing to do with who has left: no reference leads from there to who is still in it', () => {
    const line = new LinkedList<string>();
    const places = ['a', 'b', 'c'].map((one) => line.push(one));
    for (const node of places) line.remove(node);
    expect(places).toEqual(['a', 'b', 'c'].map((one) => ({ one, earlier: undefined, later: undefined })));
  });

  it('can be left by whoever is being looked at', () => {
    const line = new LinkedList<number>();
    const places = new Map([1, 2, 3].map((one) => [one, line.push(one)]));
    const seen: number[] = [];
    for (const one of line) {
      seen.push(one);
      const node = places.get(one);
      if (node !== undefined) line.remove(node);
    }
    expect(seen).toEqual([1, 2, 3]);
    expect(line.size).toBe(0);
  });
});
