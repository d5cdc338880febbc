import { describeTransport } from '@meshgate/testkit';
import { epollTransport } from '../src/transport.ts';
import { VARIANTS } from '../../linux/test/claims/kernel.ts';
import { describeWithEpoll } from './available.ts';

describeWithEpoll('the epoll transport keeps the contract', () => {
  for (const splice of VARIANTS) describeTransport(`epoll with ${splice}`, () => epollTransport({ splice }));
});
