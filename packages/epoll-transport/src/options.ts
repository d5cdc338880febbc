/** How bytes get from one socket to the other. */
export type SpliceMode =
  /** The fastest that this system can do and that has passed its self-test. Today that is `splice`: see docs/epoll-transport.md. */
  | 'auto'
  /** Through a buffer of this process: recv(2), send(2). */
  | 'copy'
  /** Small messages as `copy`; a direction that has proved to be bulk through a pipe, which moves pages and copies nothing: splice(2). */
  | 'splice';

/** Settings of the transport. */
export interface EpollOptions {
  /** Default `auto`. */
  readonly splice?: SpliceMode;
  /** Capacity of each pipe. Default 1 MiB, what the system grants without privileges (`/proc/sys/fs/pipe-max-size`). */
  readonly pipeBytes?: number;
  /** Most that one recv(2) brings, and the mark at which a direction counts as bulk. Default 64 KiB. */
  readonly bufferBytes?: number;
  /** How often one direction may read and write before others get their turn. Default 4. */
  readonly roundsPerTurn?: number;
}

/** {@link EpollOptions} with nothing left open. */
export type Settings = Required<EpollOptions>;

export const DEFAULTS: Settings = {
  splice: 'auto',
  // The largest that the system grants without privileges: the larger, the fewer system calls for each byte.
  pipeBytes: 1024 * 1024,
  // As libuv. One buffer for the whole process, so that it stays in the cache; four whole TLS records fill it, and a message seldom does.
  bufferBytes: 64 * 1024,
  // Splicing takes about a quarter of a millisecond for each full pipe: four keep the share of one direction near one millisecond.
  roundsPerTurn: 4,
};
