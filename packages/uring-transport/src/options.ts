/** Settings of the transport. */
export interface UringOptions {
  /** How bulk goes. `splice` (default): through a pipe, which moves pages and copies nothing: splice(2). `copy`: as small messages do. */
  readonly splice?: 'splice' | 'copy';
  /** Capacity of each pipe. Default 1 MiB, what the system grants without privileges (`/proc/sys/fs/pipe-max-size`). */
  readonly pipeBytes?: number;
  /** Most that one recv brings, and the mark at which a direction counts as bulk. Default 16 KiB: a whole TLS record. */
  readonly bufferBytes?: number;
  /** How many buffers the kernel may hold bytes in that we have not looked at yet. A power of two. Default 256. */
  readonly buffers?: number;
  /** How often one direction of bulk may read and write before others get their turn. Default 4. */
  readonly roundsPerTurn?: number;
}

/** {@link UringOptions} with nothing left open. */
export type Settings = Required<UringOptions>;

export const DEFAULTS: Settings = {
  splice: 'splice',
  pipeBytes: 1024 * 1024,
  bufferBytes: 16 * 1024,
  // Of small messages only the first page of each is touched: a mebibyte, which stays in the cache.
  buffers: 256,
  roundsPerTurn: 4,
};
