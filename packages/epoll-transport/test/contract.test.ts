import { describeTransport } from '@meshgate/testkit';
import { epollTransport } from '../src/transport.ts';
import { describeWithEpoll } from './available.ts';

// Not with `sockmap`: the suite's fast senders share our thread, and do not return to the event loop as long as their writes are
// taken; so nobody can look whether the receiver keeps up. That way is put to the test by the splices and the soak.
describeWithEpoll('the epoll transport keeps the contract', () => {
  for (const splice of ['copy', 'splice'] as const)
    describeTransport(`epoll with ${splice}`, () => epollTransport({ splice }));
});
