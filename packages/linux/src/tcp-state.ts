import { IPPROTO_TCP, TCP_INFO } from './abi.ts';
import type { Libc } from './libc.ts';
import type { Memory } from './memory.ts';

/** The part of the kernel's TCP state (`struct tcp_info` of `linux/tcp.h`) that shows lost segments. */
export interface TcpState {
  /** Number of consecutive retransmissions of the oldest unacknowledged segment. */
  readonly retransmissions: number;
  /** Maximum payload of a sent segment, in bytes. */
  readonly segmentBytes: number;
  /** Bytes sent at least once and not acknowledged. */
  readonly unacknowledgedBytes: number;
  /** Number of segments that arrived while an earlier one was missing. */
  readonly outOfOrder: number;
  /** Bytes received in order. */
  readonly receivedBytes: number;
}

/** Reads {@link TcpState}. */
export class TcpStates {
  readonly #libc: Libc;
  readonly #info: Memory;
  readonly #length: Memory;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#info = libc.allocate(INFO_BYTES);
    this.#length = libc.allocate(4);
  }

  /** Returns the state; `undefined` for anything but a TCP connection, and on kernels before 5.5. */
  of(fd: number): TcpState | undefined {
    const { address, bytes } = this.#info;
    this.#length.ints[0] = INFO_BYTES;
    if (this.#libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, address, this.#length.address) === -1) return undefined;
    if ((this.#length.ints[0] ?? 0) < OUT_OF_ORDER_AT + 4) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, INFO_BYTES);
    const long = (at: number): number => Number(view.getBigUint64(at, true));
    return {
      retransmissions: view.getUint8(RETRANSMITS_AT),
      segmentBytes: view.getUint32(SEGMENT_BYTES_AT, true),
      unacknowledgedBytes: Math.max(0, long(BYTES_SENT_AT) - long(BYTES_SENT_AGAIN_AT) - long(BYTES_ACKNOWLEDGED_AT)),
      outOfOrder: view.getUint32(OUT_OF_ORDER_AT, true),
      receivedBytes: long(BYTES_RECEIVED_AT),
    };
  }
}

/** Larger than the structure is so far. */
const INFO_BYTES = 512;

// Offsets of the fields: the same on all processors that `abiOf` supports.
const RETRANSMITS_AT = 2;
const SEGMENT_BYTES_AT = 16;
const BYTES_ACKNOWLEDGED_AT = 120;
const BYTES_RECEIVED_AT = 128;
const BYTES_SENT_AT = 200;
const BYTES_SENT_AGAIN_AT = 208;
const OUT_OF_ORDER_AT = 224;

/** On a network with a latency of milliseconds, three take 1.5 s: random loss has long been repaired by then. */
const MANY = 3;

/**
 * Returns the reason for which a connection that has been silent for seconds seems to wait for its network, or
 * `undefined`. Pure.
 */
export function whyStalled(state: TcpState): string | undefined {
  const { retransmissions, segmentBytes, unacknowledgedBytes, outOfOrder, receivedBytes } = state;
  if (retransmissions >= MANY && unacknowledgedBytes >= segmentBytes)
    return `segments of ${segmentBytes} bytes were sent ${retransmissions + 1} times and are not acknowledged: ${CAUSE}, or the host is down`;
  if (outOfOrder > 0 && receivedBytes === 0)
    return `earlier segments from the peer are missing, later ones arrive: ${CAUSE}`;
  return undefined;
}

const CAUSE = 'packets of full size may be lost on the way (an MTU black hole)';
