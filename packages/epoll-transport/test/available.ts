import { needs } from '@meshgate/testkit';
import type { DeclareSuite } from '@meshgate/testkit';
import { selfTest } from '../src/self-test.ts';

const tested = await selfTest();

/** `describe` where this transport works; elsewhere the tests are skipped, with the reason. */
export const describeWithEpoll: DeclareSuite = needs('epoll', tested.ok || tested.reason);
