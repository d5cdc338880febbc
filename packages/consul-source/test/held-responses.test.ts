import { describe, expect, it } from 'vitest';
import { HeldResponses } from '../src/held-responses.ts';
import { OwnVisibility } from '../src/own-visibility.ts';
import type { Hold } from '../src/state-loss-guard.ts';

const MINUTE_MS = 60_000;
const isEmpty = (response: readonly string[]): boolean => response.length === 0;

function hold(since: number, isOngoing: boolean): Hold {
  return { reason: 'the servers do not show this proxy', since, until: since + 10 * MINUTE_MS, isOngoing };
}

/** Responses in which `db` is known from time 0 on. */
function known() {
  const responses = new HeldResponses<readonly string[]>();
  responses.keep(new Map([['db', ['10.0.0.1']]]), isEmpty, 0);
  const look = (now: number, of: Hold | undefined, db: readonly string[] | 'missing' = [], isChecked = true) =>
    responses.apply(new Map(db === 'missing' ? [] : [['db', db]]), isEmpty, { hold: of, isChecked, now }).get('db');
  return { responses, look };
}

describe('a response that has become empty', () => {
  it.each([[[]], ['missing']] as const)('is accepted within a second without signs of a loss: %j', (empty) => {
    const { responses, look } = known();
    expect(look(1_000, undefined, empty)).toEqual(['10.0.0.1']);
    expect([responses.hasChange, responses.dueAt]).toEqual([true, 1_600]);
    expect(look(1_599, undefined, empty)).toEqual(['10.0.0.1']);
    expect(look(1_600, undefined, empty) ?? 'missing').toEqual(empty);
    expect(responses.warnings('instances')).toEqual([]);
  });

  it('is not accepted before a check for a loss', () => {
    const { look } = known();
    look(1_000, undefined);
    expect(look(9_000, undefined, [], false)).toEqual(['10.0.0.1']);
    expect(look(9_001, undefined)).toEqual([]);
  });

  it('is held for ten minutes after a loss, with a warning', () => {
    const { responses, look } = known();
    look(1_000, hold(900, true));
    expect(responses.warnings('instances')).toEqual([
      'the servers do not show this proxy: instances of 1 responses held back, now empty',
    ]);
    expect(look(900 + 10 * MINUTE_MS - 1, hold(900, false))).toEqual(['10.0.0.1']);
    expect(look(900 + 10 * MINUTE_MS, undefined)).toEqual([]);
    expect(responses.warnings('instances')).toEqual([]);
  });

  it('is held when the sign of the loss follows a moment later', () => {
    const { look } = known();
    look(1_000, undefined);
    look(1_500, hold(1_500, true));
    expect(look(9_000, hold(1_500, true))).toEqual(['10.0.0.1']);
  });

  it.each([
    [false, 'is believed'],
    [true, 'is held'],
  ])('that had returned disappears right after the loss: with a current sign (%j) it %s', (isDoubted) => {
    const { look } = known();
    look(1_000, hold(900, true));
    look(2_000, hold(900, true), ['10.0.0.1']);
    const after = { ...hold(900, true), isDoubted };
    look(2_100, after);
    expect(look(2_700, after)).toEqual(isDoubted ? ['10.0.0.1'] : []);
  });

  it('is accepted when it had returned since the loss', () => {
    const { responses, look } = known();
    look(1_000, hold(900, true));
    const again = ['10.0.0.2'];
    expect(look(2_000, hold(900, false), again)).toEqual(again);
    responses.keep(new Map([['db', again]]), isEmpty, 2_000);
    look(3_000, hold(900, false));
    expect(look(3_600, hold(900, false))).toEqual([]);
  });
});

describe('a proxy', () => {
  const own = { id: 'gw', key: '10.0.0.1:443' };
  it.each<readonly [what: string, before: readonly string[], now: readonly string[], isMissed: boolean]>([
    ['that the servers show', ['10.0.0.1:443'], ['10.0.0.1:443'], false],
    ['that was never shown', ['10.0.0.2:443'], ['10.0.0.2:443'], false],
    ['that is shown no more', ['10.0.0.1:443'], [], true],
    ['that is shown no more beside others with its id', ['10.0.0.1:443', '10.0.0.2:443'], ['10.0.0.2:443'], true],
    ['that is shown with another address', ['10.0.0.1:443'], ['10.0.0.1:8443'], false],
  ])('%s', (_what, before, now, isMissed) => {
    const visibility = new OwnVisibility('gateway');
    expect(visibility.incompleteReason(own, new Map([['gw', before]]))).toBeUndefined();
    const incompleteReason = visibility.incompleteReason(own, new Map([['gw', now]]));
    expect(incompleteReason?.startsWith('the servers do not show this gateway') ?? false).toBe(isMissed);
  });

  it('that its agent does not know is not missing', () => {
    expect(new OwnVisibility('gateway').incompleteReason(undefined, new Map())).toBeUndefined();
  });
});
