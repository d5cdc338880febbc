/** How bytes get from one socket to the other. */
export type SpliceMode =
  /** The fastest that this system can do and that has passed its self-test. Today that is `splice`. */
  | 'auto'
  /** Through a buffer of this process. */
  | 'copy'
  /** Small messages as `copy`; a direction that has proved to be bulk through a pipe, which moves pages and copies nothing: splice(2). */
  | 'splice';

/** Settings of what carries bytes, the same for all transports of Linux. */
export interface BulkOptions {
  /** Default `auto`. */
  readonly splice?: SpliceMode;
  /** Capacity of each pipe, in bytes. Default 1 MiB, what the system grants without privileges (`/proc/sys/fs/pipe-max-size`). */
  readonly pipeBytes?: number;
  /** Most that one read brings, in bytes, and the mark at which a direction counts as bulk. */
  readonly bufferBytes?: number;
  /** How often one direction may read and write before others get their turn. Default 4. */
  readonly roundsPerTurn?: number;
}

/** {@link BulkOptions} that nobody has asked for. */
export const BULK_DEFAULTS: Required<Omit<BulkOptions, 'bufferBytes'>> = {
  splice: 'auto',
  // The largest that the system grants without privileges: the larger, the fewer system calls for each byte.
  pipeBytes: 1024 * 1024,
  // Splicing takes about a quarter of a millisecond for each full pipe: four keep the share of one direction near one millisecond.
  roundsPerTurn: 4,
};
