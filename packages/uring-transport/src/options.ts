import { BULK_DEFAULTS } from '@meshgate/linux';
import type { BulkOptions } from '@meshgate/linux';

/** Settings of the transport. `bufferBytes` is 16 KiB if absent: a whole TLS record. */
export interface UringOptions extends BulkOptions {
  /** How many buffers the kernel may hold bytes in that we have not looked at yet. A power of two. Default 256. */
  readonly buffers?: number;
}

/** {@link UringOptions} with nothing left open. */
export type UringSettings = Required<UringOptions>;

export const DEFAULTS: UringSettings = {
  ...BULK_DEFAULTS,
  bufferBytes: 16 * 1024,
  // Of small messages only the first page of each is touched: a mebibyte, which stays in the cache.
  buffers: 256,
};
