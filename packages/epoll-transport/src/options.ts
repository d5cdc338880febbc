/** How bytes get from one socket to the other. */
export type SpliceMode =
  /** The fastest that this system can do and that has passed its self-test. Today that is `splice`: see docs/epoll-transport.md. */
  | 'auto'
  /** Through a buffer of this process: recv(2), send(2). */
  | 'copy'
  /** Small messages as `copy`; a direction that has proved to be bulk through a pipe, which moves pages and copies nothing: splice(2). */
  | 'splice'
  /** As `splice`; a connection that has proved to be bulk is then handed to the kernel, which forwards by itself: bpf(2). */
  | 'sockmap';

/** Settings of the transport. Every one has a default that was measured. */
export interface EpollOptions {
  /** Default `auto`. */
  readonly splice?: SpliceMode;
  /** Capacity of each pipe. Default 1 MiB, what the system grants without privileges (`/proc/sys/fs/pipe-max-size`). */
  readonly pipeBytes?: number;
  /** Most that one recv(2) brings, and the mark at which a direction counts as bulk. Default 64 KiB. */
  readonly bufferBytes?: number;
  /** With `sockmap`: after how many bytes of bulk the kernel takes over. Default 4 MiB. */
  readonly inKernelAfterBytes?: number;
  /** How often one direction may read and write before others get their turn. Default 4. */
  readonly roundsPerTurn?: number;
}

/** {@link EpollOptions} with nothing left open. */
export type Settings = Required<EpollOptions>;

export const DEFAULTS: Settings = {
  splice: 'auto',
  // Half as much costs a tenth of the bulk rate: more, and smaller, turns. More than the system's own limit needs privileges.
  pipeBytes: 1024 * 1024,
  // As libuv. A quarter of it makes ping-pong no faster and bulk slower until it is promoted.
  bufferBytes: 64 * 1024,
  // With a full pipe a round moves 1 MiB in about 0.3 ms: four keep a turn near one millisecond.
  roundsPerTurn: 4,
  // Handing over and back costs about twenty system calls: nothing for what takes a millisecond to send.
  inKernelAfterBytes: 4 * 1024 * 1024,
};
