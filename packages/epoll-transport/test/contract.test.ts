import { describeTransport } from '@meshgate/testkit';
import { epollTransport } from '../src/transport.ts';
import { describeWithEpoll, WAYS } from './available.ts';

describeWithEpoll('the epoll transport keeps the contract', () => {
  // With the kernel taking over as soon as it can, so that nearly every claim is put to it.
  for (const splice of WAYS)
    describeTransport(`epoll with ${splice}`, () => epollTransport({ splice, inKernelAfterBytes: 64 * 1024 }));
});
