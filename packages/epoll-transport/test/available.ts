import type { SpliceMode } from '@meshgate/linux';
import { needs } from '@meshgate/testkit';
import type { DeclareSuite } from '@meshgate/testkit';
import { selfTest } from '../src/self-test.ts';

const tested = await selfTest();

/** The ways of carrying that this machine knows. */
export const WAYS: readonly SpliceMode[] = ['copy', 'splice'];

/** `describe` where this transport works; elsewhere the tests are skipped, with the reason. */
export const describeWithEpoll: DeclareSuite = needs('epoll', tested.ok || tested.reason);
