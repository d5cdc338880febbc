/** How bytes are moved between the sockets. */
export type SpliceMode =
  /** The fastest available method that has passed its self-test: currently `splice`. */
  | 'auto'
  /** Through a buffer of this process. */
  | 'copy'
  /** Small messages as with `copy`; bulk directions through a pipe, which moves pages without copying: splice(2). */
  | 'splice';

/** Settings of the data path, shared by all Linux transports. */
export interface BulkOptions {
  /** Default `auto`. */
  readonly splice?: SpliceMode;
  /** Capacity of each pipe, in bytes. Default 1 MiB, the unprivileged limit (`/proc/sys/fs/pipe-max-size`). */
  readonly pipeBytes?: number;
  /** Maximum bytes of one read, and the threshold at which a direction counts as bulk. */
  readonly bufferBytes?: number;
  /** Maximum number of reads and writes per direction and turn. Default 4. */
  readonly roundsPerTurn?: number;
}

/** Defaults of {@link BulkOptions}. */
export const BULK_DEFAULTS: Required<Omit<BulkOptions, 'bufferBytes'>> = {
  splice: 'auto',
  // The unprivileged maximum: the larger, the fewer system calls per byte.
  pipeBytes: 1024 * 1024,
  // Splicing a full pipe takes about 0.25 ms: four of them keep one direction near 1 ms.
  roundsPerTurn: 4,
};
