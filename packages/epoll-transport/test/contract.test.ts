import { describeTransport } from '@meshgate/testkit';
import { epollTransport } from '../src/transport.ts';
import { describeWithEpoll } from './available.ts';

describeWithEpoll('the epoll transport keeps the contract', () => {
  for (const splice of ['auto', 'copy', 'splice'] as const)
    describeTransport(`epoll with ${splice}`, () => epollTransport({ splice }));
});
