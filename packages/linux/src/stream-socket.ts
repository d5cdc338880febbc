import type { KeepAlive } from '@meshgate/core';
import type { Libc } from './libc.ts';
import type { Memory } from './memory.ts';
import type { Sockets } from './sockets.ts';
import type { TurnLoop } from './turn-loop.ts';

/** Shared by all parts of one transport. */
export interface TransportKernel {
  readonly libc: Libc;
  readonly sockets: Sockets;
  /** Send buffer; must be emptied before its next use. */
  readonly buffer: Memory;
  readonly turns: TurnLoop;
}

/** Receives the events of a socket: one owner at a time, which may change. */
export interface SocketOwner {
  /** Progress may be possible: receiving, sending, or learning that the connection is lost. */
  onReady(socket: StreamSocket): void;
  /** The socket's deadline has expired. */
  onDeadline(socket: StreamSocket): void;
  /** Its descriptor is closed, and no operation is pending. Absent where nothing waits for that. */
  onClosed?(socket: StreamSocket): void;
}

/** A connected (or connecting) socket of a transport. */
export interface StreamSocket {
  owner: SocketOwner;
  /** Its descriptor, for calls that are not made here. */
  readonly fd: number;
  /** {@link StreamSocket.close} has been called. */
  readonly closed: boolean;
  /** There may be bytes to receive, or the end is known. */
  readonly readable: boolean;
  /** The kernel may accept bytes. While connecting: it is connected. */
  readonly writable: boolean;
  /** The end of the stream has been received. */
  readonly ended: boolean;
  /** The connection is lost, or never was established; {@link StreamSocket.takeError} has the reason. */
  readonly failed: boolean;
  /**
   * Receives bytes.
   *
   * @returns bytes, which the caller owns; 0 when there are none, now or, if `ended`, for ever; −errno when it is lost
   */
  take(): Uint8Array | number;
  /**
   * Sends as much as the kernel accepts now; if that is not all, `onReady` follows when it accepts more.
   *
   * @returns how many of `length` bytes at `address` it has accepted; −errno when the connection is lost
   */
  send(address: number, length: number): number;
  /** The error as errno, once; 0 when there is none. */
  takeError(): number;
  /** Ends the sending direction: bytes that the kernel has accepted are still delivered. */
  finish(): void;
  /** Idempotent. */
  close(): void;
  /** Closes with a reset: undelivered data is dropped. A unix socket is only closed. */
  reset(): void;
  /** Calls the owner after `afterMs` milliseconds, replacing an earlier deadline. */
  setDeadline(afterMs: number): void;
  /** Idempotent. */
  clearDeadline(): void;
  /**
   * Keepalive is for long-lived connections: those that end within the second are spared its system calls. Uses the
   * socket's deadline, so it is only for sockets without one.
   */
  keepAliveLater(keepAlive: KeepAlive): void;
}

/** The kernel's shortest idle time before a probe is a second, too: nothing is missed. */
export const KEEP_ALIVE_AFTER_MS = 1_000;

/** Owner of a socket between its creation and its connection, while no event can occur. */
export const NO_OWNER: SocketOwner = { onReady: () => undefined, onDeadline: () => undefined };
