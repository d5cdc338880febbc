// Setup of the files whose suites use this transport: where it does not work they are skipped, with the reason.
import { needs } from '@meshgate/testkit';
import { beforeEach } from 'vitest';
import { selfTest } from '../src/self-test.ts';

const tested = await selfTest();
if (!tested.ok) {
  needs('epoll', tested.reason);
  beforeEach(({ skip }) => skip(`needs epoll: ${tested.reason}`));
}
