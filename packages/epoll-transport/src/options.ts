import { BULK_DEFAULTS } from '@meshgate/linux';
import type { BulkOptions } from '@meshgate/linux';

/** Settings of the transport. `bufferBytes` is 64 KiB when absent. */
export type EpollOptions = BulkOptions;

/** {@link EpollOptions} with all defaults filled in. */
export type EpollSettings = Required<EpollOptions>;

export const DEFAULTS: EpollSettings = {
  ...BULK_DEFAULTS,
  // The same size as libuv's. One buffer for the whole process stays in the cache; four full TLS records fill it, small
  // messages do not.
  bufferBytes: 64 * 1024,
};
