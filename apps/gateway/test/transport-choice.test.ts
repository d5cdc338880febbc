import { nodeTransport } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { builtInTransports, chooseTransport } from '../src/run/transport-choice.ts';

const named = (name: string) => ({ ...nodeTransport(), name });
const works = (name: string) => ({ name, open: () => Promise.resolve(named(name)) });
const fails = { name: 'fast', open: () => Promise.reject(new Error('the kernel is too old')) };

describe('the choice of a transport', () => {
  it('is the first that works, with the reasons why those before it are unavailable', async () => {
    expect(await chooseTransport('auto', [], [fails, works('node')])).toMatchObject({
      kind: 'chosen',
      transport: { name: 'node' },
      declined: [{ name: 'fast', reason: 'the kernel is too old' }],
    });
  });

  it('is io_uring, then epoll, then Node', () => {
    expect(builtInTransports('auto').map(({ name }) => name)).toEqual(['uring', 'epoll', 'node']);
  });

  it('never opens another than the named one', async () => {
    expect(await chooseTransport('node', [], [fails, works('node')])).toMatchObject({ declined: [] });
    expect(await chooseTransport('mine', [named('mine')], [fails])).toMatchObject({ transport: { name: 'mine' } });
  });

  it('fails when the named one is unavailable', async () => {
    expect(await chooseTransport('fast', [], [fails, works('node')])).toEqual({
      kind: 'none',
      reason: 'the transport fast cannot be used here: the kernel is too old',
    });
  });

  it('lists the known ones when the name is unknown', async () => {
    expect(await chooseTransport('fsat', [named('mine')], [works('node')])).toEqual({
      kind: 'none',
      reason: 'expected one of auto, node, mine, found "fsat"',
    });
  });
});
