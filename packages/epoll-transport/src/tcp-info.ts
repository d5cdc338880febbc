import { IPPROTO_TCP, TCP_INFO } from './abi.ts';
import type { Libc } from './libc.ts';
import type { Memory } from './memory.ts';

/** What the kernel counts of one connection, all at one moment (tcp(7), `TCP_INFO`; `struct tcp_info` of `linux/tcp.h`). */
export interface TcpCounts {
  /** Bytes put into the sending queue so far, by anybody. */
  readonly written: number;
  /** Since a byte last arrived, in milliseconds. */
  readonly quietMs: number;
}

/** Reads {@link TcpCounts}. */
export class TcpInfo {
  readonly #libc: Libc;
  readonly #info: Memory;
  readonly #length: Memory;
  readonly #view: DataView;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#info = libc.allocate(INFO_BYTES);
    this.#length = libc.allocate(4);
    this.#view = new DataView(this.#info.bytes.buffer);
  }

  /** `undefined` when the socket is gone, or the kernel is older than the counts (Linux 4.19). */
  read(fd: number): TcpCounts | undefined {
    this.#length.ints[0] = INFO_BYTES;
    const result = this.#libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, this.#info.address, this.#length.address);
    if (result === -1 || (this.#length.ints[0] ?? 0) < INFO_BYTES) return undefined;
    return {
      // Sent, less what was sent again, and what is still to be sent for the first time.
      written: this.#u64(200) - this.#u64(208) + this.#view.getUint32(144, true),
      quietMs: this.#view.getUint32(52, true),
    };
  }

  #u64(at: number): number {
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32;
  }
}

/** Up to and with `tcpi_bytes_retrans`. */
const INFO_BYTES = 216;
