import { testTransport } from '@meshgate/linux';
import type { SelfTest } from '@meshgate/linux';
import type { EpollOptions } from './options.ts';
import { epollTransport } from './transport.ts';

/** Tests the transport on this system, with real bytes over loopback. Takes some milliseconds, never throws. */
export function selfTest(options: EpollOptions = {}): Promise<SelfTest> {
  return testTransport(epollTransport(options));
}
