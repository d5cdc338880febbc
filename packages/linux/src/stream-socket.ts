import type { KeepAlive } from '@meshgate/core';
import type { Libc } from './libc.ts';
import type { Memory } from './memory.ts';
import type { Sockets } from './sockets.ts';
import type { TurnLoop } from './turn-loop.ts';

/** What all parts of one transport share. */
export interface TransportKernel {
  readonly libc: Libc;
  readonly sockets: Sockets;
  /** What is sent is copied here first; to be emptied before anything else is done with it. */
  readonly buffer: Memory;
  readonly turns: TurnLoop;
}

/** Who is told of what happens to a socket: one at a time, and it may change. */
export interface SocketOwner {
  /** Something may be possible now that was not before: to take bytes, to send, or to learn that the connection is lost. */
  onReady(socket: StreamSocket): void;
  /** The deadline set for the socket is over. */
  onDeadline(socket: StreamSocket): void;
  /** Its descriptor is closed, and nothing of it is under way any more. Absent where nobody waits for that. */
  onClosed?(socket: StreamSocket): void;
}

/** A connected (or connecting) socket of a transport. */
export interface StreamSocket {
  owner: SocketOwner;
  /** Its descriptor, for calls that are not made here. */
  readonly fd: number;
  /** {@link StreamSocket.close} has been called. */
  readonly closed: boolean;
  /** There may be bytes to be taken, or the end is known. */
  readonly readable: boolean;
  /** The kernel may take bytes. While connecting: it is connected. */
  readonly writable: boolean;
  /** The end of the stream has been received: nothing will follow. */
  readonly ended: boolean;
  /** The connection is lost, or was never made; why, {@link StreamSocket.takeError} says. */
  readonly failed: boolean;
  /**
   * What has come so far.
   *
   * @returns bytes, which are the caller's; 0 when there are none, now or, if `ended`, for ever; −errno when it is lost
   */
  take(): Uint8Array | number;
  /**
   * Sends as much as the kernel takes now; when that is not all, `onReady` tells when it takes more.
   *
   * @returns how many of `length` bytes at `address` it has taken; −errno when the connection is lost
   */
  send(address: number, length: number): number;
  /** The error as errno, once; 0 when there is none. */
  takeError(): number;
  /** Ends the sending direction: what the kernel has taken is still delivered. */
  finish(): void;
  /** Idempotent. */
  close(): void;
  /** Closes so that the peer sees a reset: what is not yet delivered is dropped. A unix socket is only closed. */
  reset(): void;
  /** Has the owner told once `afterMs` milliseconds have passed, in place of a deadline set before. */
  setDeadline(afterMs: number): void;
  /** Idempotent. */
  clearDeadline(): void;
  /**
   * Keepalive is for connections that last: those that are over within the second are spared its system calls. Takes the
   * socket's deadline for it, so this is for sockets that have no other.
   */
  keepAliveLater(keepAlive: KeepAlive): void;
}

/** The shortest silence after which the kernel can probe is a second, too: nothing is missed. */
export const KEEP_ALIVE_AFTER_MS = 1_000;

/** Owner of a socket for the moment between its making and its connection; nothing can happen to it in between. */
export const NO_OWNER: SocketOwner = { onReady: () => undefined, onDeadline: () => undefined };
