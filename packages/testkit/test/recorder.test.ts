import { describe, expect, it } from 'vitest';
import { eventSamples, recorder } from '../src/index.ts';

const opened = eventSamples()['listener.opened'];
const closed = eventSamples()['listener.closed'];

function accepted(id: string): ReturnType<typeof eventSamples>['connection.accepted'] {
  return eventSamples(id)['connection.accepted'];
}

describe('a recorder', () => {
  it('returns the events that it received, by type and in order', () => {
    const events = recorder();
    for (const event of [accepted('a'), opened, accepted('b')]) events.observe(event);
    expect(events.events.map(({ type }) => type)).toEqual([
      'connection.accepted',
      'listener.opened',
      'connection.accepted',
    ]);
    expect(events.all('connection.accepted').map(({ connection }) => connection.id)).toEqual(['a', 'b']);
    expect(events.last('connection.accepted')?.connection.id).toBe('b');
    expect(events.last('listener.closed')).toBeUndefined();
  });

  it('waits for a later event', async () => {
    const events = recorder();
    const found = events.until('connection.accepted', ({ connection }) => connection.id === 'b');
    events.observe(accepted('a'));
    events.observe(accepted('b'));
    expect((await found).connection.id).toBe('b');
  });

  it('finds an event from before the wait', async () => {
    const events = recorder();
    events.observe(opened);
    expect(await events.until('listener.opened')).toBe(opened);
  });

  it('waits for several', async () => {
    const events = recorder();
    const found = events.untilCount('connection.accepted', 2);
    for (const id of ['a', 'b', 'c']) events.observe(accepted(id));
    expect((await found).map(({ connection }) => connection.id)).toEqual(['a', 'b']);
  });

  it('lists the events seen instead on timeout', async () => {
    const events = recorder();
    events.observe(accepted('a'));
    events.observe(closed);
    await expect(events.until('listener.opened', undefined, { timeoutMs: 1 })).rejects.toThrow(
      "expected 'listener.opened' within 1 ms, found 2 events:\n  connection.accepted a\n  listener.closed default",
    );
  });

  it('ends when its signal aborts, before or meanwhile', async () => {
    const events = recorder();
    const abort = new AbortController();
    const waiting = events.untilCount('drain.started', 2, { signal: abort.signal });
    abort.abort();
    const expected = "expected 2 of 'drain.started' before the wait was aborted, found no event";
    await expect(waiting).rejects.toThrow(expected);
    await expect(events.untilCount('drain.started', 2, { signal: abort.signal })).rejects.toThrow(expected);
  });

  it('rejects with what a predicate throws', async () => {
    const events = recorder();
    const waiting = events.until('listener.opened', () => {
      throw new Error('the predicate is broken');
    });
    expect(() => events.observe(opened)).not.toThrow();
    await expect(waiting).rejects.toThrow('the predicate is broken');
  });
});
