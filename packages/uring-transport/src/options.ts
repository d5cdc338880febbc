import { BULK_DEFAULTS } from '@meshgate/linux';
import type { BulkOptions } from '@meshgate/linux';

/** Settings of the transport. `bufferBytes` is 16 KiB when absent: a full TLS record. */
export interface UringOptions extends BulkOptions {
  /** Number of buffers for received bytes that have not been processed. A power of two. Default 256. */
  readonly buffers?: number;
}

/** {@link UringOptions} with all defaults filled in. */
export type UringSettings = Required<UringOptions>;

export const DEFAULTS: UringSettings = {
  ...BULK_DEFAULTS,
  bufferBytes: 16 * 1024,
  // Small messages only touch the first page of each: 1 MiB, which stays in the cache.
  buffers: 256,
};
