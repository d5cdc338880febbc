import { describe, expect, it } from 'vitest';
import { whyStalled } from '../src/tcp-state.ts';
import type { TcpState } from '../src/tcp-state.ts';

const WELL: TcpState = {
  retransmissions: 0,
  segmentBytes: 1_448,
  unacknowledgedBytes: 0,
  outOfOrder: 0,
  receivedBytes: 100,
};

describe('a connection that is silent', () => {
  it.each<readonly [what: string, state: Partial<TcpState>, why: RegExp | undefined]>([
    ['is idle', {}, undefined],
    ['has lost a segment by chance', { retransmissions: 1, unacknowledgedBytes: 1_448 }, undefined],
    ['waits for a host that has gone', { retransmissions: 9, unacknowledgedBytes: 100 }, undefined],
    ['has had segments in another order', { outOfOrder: 9 }, undefined],
    [
      'sends full segments again and again',
      { retransmissions: 3, unacknowledgedBytes: 1_448 },
      /^segments of 1448 bytes were sent 4 times and are not acknowledged: packets of full size may be lost/,
    ],
    [
      'has got the end of an answer, and not its beginning',
      { outOfOrder: 1, receivedBytes: 0 },
      /^earlier segments from the peer are missing, .*packets of full size may be lost/,
    ],
  ])('and %s', (_what, state, why) => {
    const found = whyStalled({ ...WELL, ...state });
    if (why === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(why);
  });
});
