import { describe, expect, it } from 'vitest';
import { checkPeers, failingChecks, intentionsTo } from '../src/index.ts';

describe('queries for a report', () => {
  const invalid = { address: 'tcp://127.0.0.1:8500' };

  it('report an invalid address, and do not reject', async () => {
    expect(await intentionsTo(invalid, 'web')).toMatchObject({
      kind: 'unknown',
      why: expect.stringContaining('expected an address such as'),
    });
    expect(await failingChecks(invalid, 'web')).toEqual([]);
    expect(await checkPeers(invalid)).toMatchObject([{ outcome: 'warning' }]);
  });
});
