/** How bytes get from one socket to the other. */
export type SpliceMode =
  /** The fastest available method that has passed its self-test: currently `splice`. */
  | 'auto'
  /** Through a buffer of this process. */
  | 'copy'
  /** Small messages as with `copy`; a bulk direction through a pipe, which moves pages without copying: splice(2). */
  | 'splice';

/** Data path settings, the same for all Linux transports. */
export interface BulkOptions {
  /** Default `auto`. */
  readonly splice?: SpliceMode;
  /** Capacity of each pipe, in bytes. Default 1 MiB, the unprivileged limit (`/proc/sys/fs/pipe-max-size`). */
  readonly pipeBytes?: number;
  /** Maximum bytes of one read, and the threshold at which a direction counts as bulk. */
  readonly bufferBytes?: number;
  /** Reads and writes per direction and turn. Default 4. */
  readonly roundsPerTurn?: number;
}

/** Defaults of {@link BulkOptions}. */
export const BULK_DEFAULTS: Required<Omit<BulkOptions, 'bufferBytes'>> = {
  splice: 'auto',
  // The unprivileged maximum: the larger, the fewer system calls per byte.
  pipeBytes: 1024 * 1024,
  // Splicing a full pipe takes about a quarter of a millisecond: four keep the share of one direction near one
  // millisecond.
  roundsPerTurn: 4,
};
