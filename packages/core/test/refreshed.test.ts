import { describe, expect, it } from 'vitest';
import { Refreshed } from '../src/watch/refreshed.ts';

describe('a refreshed value', () => {
  const origin = { stamp: 'a', value: '1' as string | Error };
  let loads = 0;
  const refreshed = new Refreshed<string>(() => ({
    stamp: origin.stamp,
    load: () => {
      loads += 1;
      if (origin.value instanceof Error) throw origin.value;
      return origin.value;
    },
  }));

  it('is loaded once for all readers, and again only when its origin has changed', async () => {
    await Promise.all([refreshed.refresh(), refreshed.refresh()]);
    expect(await refreshed.refresh()).toMatchObject({ state: 'current', value: '1' });
    expect([loads, refreshed.version]).toEqual([1, 1]);
  });

  it('is kept when loading fails, which is retried each time', async () => {
    Object.assign(origin, { stamp: 'b', value: new Error('half written') });
    expect(await refreshed.refresh()).toMatchObject({ state: 'failing', value: '1' });
    expect(await refreshed.refresh()).toMatchObject({ state: 'failing', value: '1' });
    expect([loads, refreshed.version]).toEqual([3, 1]);
  });

  it('is current again, without being loaded, when its origin is restored', async () => {
    origin.stamp = 'a';
    expect(await refreshed.refresh()).toMatchObject({ state: 'current', value: '1' });
    expect([loads, refreshed.version]).toEqual([3, 1]);
  });
});
