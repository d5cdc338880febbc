import { describeTransport } from '@meshgate/testkit';
import { epollTransport } from '../src/transport.ts';
import { describeWithEpoll, WAYS } from './available.ts';

describeWithEpoll('the epoll transport keeps the contract', () => {
  for (const splice of WAYS) describeTransport(`epoll with ${splice}`, () => epollTransport({ splice }));
});
