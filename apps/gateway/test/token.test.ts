import { describe, expect, it } from 'vitest';
import { all, bind, bindEach, newContainer, one, token } from '../src/run/token.ts';

const NUMBER = token<number>('number');
const TEXT = token<string>('text');

describe('a container', () => {
  it('creates a part once, on first use, from what is bound by then', () => {
    const c = newContainer();
    let made = 0;
    bind(c, TEXT, () => `${one(c, NUMBER)}, made ${(made += 1)} times`);
    bind(c, NUMBER, () => 7);
    expect(made).toBe(0);
    expect([one(c, TEXT), one(c, TEXT)]).toEqual(['7, made 1 times', '7, made 1 times']);
  });

  it('has several parts of a kind in the order of binding, or none', () => {
    const c = newContainer();
    expect(all(c, NUMBER)).toEqual([]);
    bind(c, NUMBER, () => 1);
    bindEach(c, NUMBER, [2, 3]);
    expect(all(c, NUMBER)).toEqual([1, 2, 3]);
  });

  it('names a missing part', () => {
    expect(() => one(newContainer(), TEXT)).toThrow('text');
  });

  it('shares nothing with another', () => {
    bind(newContainer(), NUMBER, () => 1);
    expect(all(newContainer(), NUMBER)).toEqual([]);
  });
});
