import { describe, expect, it } from 'vitest';
import { LinkedList } from '../src/pipeline/linked-list.ts';

class Letter {
  earlier: Letter | undefined;
  later: Letter | undefined;
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

function listOf(...names: readonly string[]): { list: LinkedList<Letter>; letters: ReadonlyMap<string, Letter> } {
  const list = new LinkedList<Letter>();
  const letters = new Map(names.map((name) => [name, new Letter(name)]));
  for (const letter of letters.values()) list.push(letter);
  return { list, letters };
}

function removeFrom({ list, letters }: ReturnType<typeof listOf>, name: string): void {
  const letter = letters.get(name);
  if (letter !== undefined) list.remove(letter);
}

describe('a linked list', () => {
  const orders: readonly [claim: string, removed: readonly string[], remaining: readonly string[]][] = [
    ['all of them', [], ['a', 'b', 'c']],
    ['the rest when the first is removed', ['a'], ['b', 'c']],
    ['the rest when the last is removed', ['c'], ['a', 'b']],
    ['the rest when one in the middle is removed', ['b'], ['a', 'c']],
    ['the last one', ['b', 'a'], ['c']],
    ['nothing when all are removed', ['a', 'b', 'c'], []],
    ['nothing when all are removed from the end', ['c', 'b', 'a'], []],
    ['the rest when one is removed twice', ['b', 'b'], ['a', 'c']],
  ];
  it.each(orders)('holds in order of insertion: %s', (_claim, removed, remaining) => {
    const all = listOf('a', 'b', 'c');
    const { list } = all;
    for (const name of removed) removeFrom(all, name);
    expect(Array.from(list, ({ name }) => name)).toEqual(remaining);
    expect(list.size).toBe(remaining.length);
    expect(list.first?.name).toBe(remaining[0]);
    list.push(new Letter('d'));
    expect(Array.from(list, ({ name }) => name)).toEqual([...remaining, 'd']);
  });

  it('leaves no reference from a removed member to any other', () => {
    const all = listOf('a', 'b', 'c');
    for (const name of all.letters.keys()) removeFrom(all, name);
    for (const letter of all.letters.values()) expect([letter.earlier, letter.later]).toEqual([undefined, undefined]);
  });

  it('allows the current member to be removed', () => {
    const { list } = listOf('a', 'b', 'c');
    const seen: string[] = [];
    for (const letter of list) {
      seen.push(letter.name);
      list.remove(letter);
    }
    expect(seen).toEqual(['a', 'b', 'c']);
    expect(list.size).toBe(0);
  });
});
