import { describeTransport } from '@meshgate/testkit';
import { uringTransport } from '../src/transport.ts';
import { describeWithUring } from './available.ts';

describeWithUring('the uring transport keeps the contract', () => {
  for (const splice of ['splice', 'copy'] as const)
    describeTransport(`uring with ${splice}`, () => uringTransport({ splice }));
});
