import { testTransport } from '@meshgate/linux';
import type { SelfTest } from '@meshgate/linux';
import type { UringOptions } from './options.ts';
import { uringTransport } from './transport.ts';

/**
 * Whether the transport works on this system, tested with real bytes over loopback. Takes some milliseconds, never
 * throws: where io_uring is forbidden, switched off or too old, the reason says so.
 */
export function selfTest(options: UringOptions = {}): Promise<SelfTest> {
  return testTransport(uringTransport(options));
}
