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

/** Receives the events of a socket. A socket has one owner at a time, which may change. */
export interface SocketOwner {
  /** Called when progress may be possible: receiving, sending, or detecting that the connection is lost. */
  onReady(socket: StreamSocket): void;
  /** Called when the socket's deadline has expired. */
  onDeadline(socket: StreamSocket): void;
  /** Called when its descriptor is closed and no operation is pending. Absent if nothing waits for that. */
  onClosed?(socket: StreamSocket): void;
}

/** A connected (or connecting) socket of a transport. */
export interface StreamSocket {
  owner: SocketOwner;
  /** Its descriptor, for other system calls. */
  readonly fd: number;
  /** Whether {@link StreamSocket.close} has been called. */
  readonly closed: boolean;
  /** Whether there may be bytes to receive, or the end is known. */
  readonly readable: boolean;
  /** Whether the kernel may accept bytes; while connecting: whether the connection is established. */
  readonly writable: boolean;
  /** Whether the end of the stream has been received. */
  readonly ended: boolean;
  /** Whether the connection is lost or could not be established; {@link StreamSocket.takeError} has the reason. */
  readonly failed: boolean;
  /**
   * Receives bytes.
   *
   * @returns bytes, which the caller owns; 0 if there are none, for the moment or, if `ended`, forever; −errno if the
   * connection is lost
   */
  take(): Uint8Array | number;
  /**
   * Sends as much as the kernel accepts now; if that is not all, `onReady` follows when it accepts more.
   *
   * @returns the number of bytes accepted, of `length` bytes at `address`; −errno if the connection is lost
   */
  send(address: number, length: number): number;
  /** Returns the error as errno, once; 0 if there is none. */
  takeError(): number;
  /** Ends the sending direction: bytes that the kernel has accepted are still delivered. */
  finish(): void;
  /** Closes the socket. Idempotent. */
  close(): void;
  /** Closes with a reset: undelivered data is dropped. A unix socket is only closed. */
  reset(): void;
  /** Calls the owner after `afterMs` milliseconds, replacing an earlier deadline. */
  setDeadline(afterMs: number): void;
  /** Clears the deadline. Idempotent. */
  clearDeadline(): void;
  /**
   * Enables keepalive after a second, since it is for long-lived connections: shorter ones are spared its system calls.
   * Uses the socket's deadline, so that it is only for sockets without one.
   */
  keepAliveLater(keepAlive: KeepAlive): void;
}

/** No probe is missed: the kernel's shortest idle time before one is a second, too. */
export const KEEP_ALIVE_AFTER_MS = 1_000;

/** Owner of a socket between its creation and its connection, while no event can occur. */
export const NO_OWNER: SocketOwner = { onReady: () => undefined, onDeadline: () => undefined };
