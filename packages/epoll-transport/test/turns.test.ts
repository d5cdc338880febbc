import { VARIANTS } from '../../linux/test/claims/kernel.ts';
import type { OpensKernel } from '../../linux/test/claims/kernel.ts';
import { claimBoundedShares, claimBoundedSharesOfBytes } from '../../linux/test/claims/shares.ts';
import { claimShortTurns } from '../../linux/test/claims/turns.ts';
import { EpollKernel } from '../src/kernel.ts';
import { DEFAULTS } from '../src/options.ts';
import { transportOver } from '../src/transport.ts';
import { describeWithEpoll } from './available.ts';

const open: OpensKernel = (libc, splice) => {
  const kernel = new EpollKernel(libc, { ...DEFAULTS, splice });
  return { turns: kernel.turns, transport: transportOver(() => Promise.resolve(kernel)) };
};

describeWithEpoll('a single connection', () => {
  claimBoundedShares(open, VARIANTS);
  claimBoundedSharesOfBytes(open);
});
describeWithEpoll('a turn of the loop', () => claimShortTurns(open));
