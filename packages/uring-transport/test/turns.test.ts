import type { OpensKernel } from '../../linux/test/claims/kernel.ts';
import { claimBoundedShares } from '../../linux/test/claims/shares.ts';
import { claimShortTurns } from '../../linux/test/claims/turns.ts';
import { UringKernel } from '../src/kernel.ts';
import { DEFAULTS } from '../src/options.ts';
import { transportOver } from '../src/transport.ts';
import { describeWithUring } from './available.ts';

const open: OpensKernel = (libc, splice) => {
  const kernel = new UringKernel(libc, { ...DEFAULTS, splice });
  return { turns: kernel.turns, transport: transportOver(() => Promise.resolve(kernel)) };
};

describeWithUring('a single connection', () => claimBoundedShares(open, ['splice']));
describeWithUring('a turn of the loop', () => claimShortTurns(open));
