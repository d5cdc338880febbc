import { testTransport } from '@meshgate/linux';
import type { SelfTest } from '@meshgate/linux';
import type { UringOptions } from './options.ts';
import { uringTransport } from './transport.ts';

/**
 * Tests whether the transport works on this system, with real bytes over loopback. Takes some milliseconds, never
 * throws: if io_uring is forbidden, disabled or too old, the result has the reason.
 */
export function selfTest(options: UringOptions = {}): Promise<SelfTest> {
  return testTransport(uringTransport(options));
}
