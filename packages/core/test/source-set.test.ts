import { describe, expect, it } from 'vitest';
import { aborted } from '../src/watch/scope.ts';
import { SourceSet } from '../src/watch/source-set.ts';

function sources(first: readonly string[], outer?: AbortSignal) {
  const seen: string[] = [];
  const set = new SourceSet(
    first,
    async (name: string, signal) => {
      seen.push(`${name} runs`);
      await aborted(signal);
      seen.push(`${name} ends`);
      if (name === 'stubborn') throw new Error('stubborn did not stop');
    },
    outer,
  );
  return { seen, set };
}

describe('sources that are replaced while they are followed', () => {
  it('start once, continue if they stay, and stop when they are stopped', async () => {
    const { seen, set } = sources(['a', 'b']);
    set.start();
    set.start(['c']);
    const { added, gone } = set.replace(['c', 'a']);
    expect([added, gone, set.current]).toEqual([['c'], ['b'], ['c', 'a']]);
    set.start();
    await set.stop(gone);
    expect(seen).toEqual(['a runs', 'b runs', 'c runs', 'b ends']);
    await set.stop();
    expect(seen.slice(4)).toEqual(['c ends', 'a ends']);
  });

  it('all stop, even if one of them fails, which is reported by name', async () => {
    const { seen, set } = sources(['stubborn', 'a']);
    set.start();
    await expect(set.stop()).rejects.toThrow('stubborn did not stop');
    expect(seen).toContain('a ends');
    await set.stop();
  });

  it('end with the outer scope', async () => {
    const outer = new AbortController();
    const { seen, set } = sources(['a'], outer.signal);
    set.start();
    outer.abort();
    await set.stop();
    expect(seen).toEqual(['a runs', 'a ends']);
  });
});
