import { SO_COOKIE, SO_RCVLOWAT, SOL_SOCKET } from './abi.ts';
import { Bpf, forwardingProgram } from './bpf.ts';
import type { Libc } from './libc.ts';
import type { Memory } from './memory.ts';
import { TcpInfo } from './tcp-info.ts';

/** A connected TCP socket, by its descriptor. */
interface Member {
  readonly fd: number;
}

/**
 * Pairs of sockets between which the kernel itself forwards, until it is told to stop.
 *
 * Two maps, because what is received needs somewhere to go from the first byte on, and somewhere until the last: the first
 * says only where the bytes of each socket go, the second has the program. A pair enters the first, then the second; it leaves
 * the second, waits until everything has gone out, and only then leaves the first, which would drop what is still under way.
 */
export class Sockmap {
  readonly tcpInfo: TcpInfo;
  readonly #libc: Libc;
  readonly #bpf: Bpf;
  readonly #peers: number;
  readonly #forwarding: number;
  readonly #counters: number;
  readonly #program: number;
  readonly #key: Memory;
  readonly #length: Memory;
  readonly #value: Memory;

  /** Throws the system's error where the kernel does not allow it: it takes `CAP_BPF` and `CAP_NET_ADMIN`, and Linux 5.13. */
  constructor(libc: Libc) {
    this.#libc = libc;
    this.tcpInfo = new TcpInfo(libc);
    this.#bpf = new Bpf(libc);
    this.#key = libc.allocate(8);
    this.#length = libc.allocate(4);
    this.#value = libc.allocate(8);
    this.#peers = this.#bpf.createSocketMap(SOCKETS);
    this.#forwarding = this.#bpf.createSocketMap(SOCKETS);
    this.#counters = this.#bpf.createCounterMap(SOCKETS);
    this.#program = this.#bpf.loadVerdict(forwardingProgram(this.#peers, this.#counters));
    this.#bpf.attachVerdict(this.#program, this.#forwarding);
  }

  /**
   * From here on the kernel forwards between `a` and `b`. What either has received must have been read, down to the last byte:
   * of a packet that has been read in part, the kernel would forward all.
   *
   * @returns `false` when it cannot; nothing has changed then
   */
  join(a: Member, b: Member): boolean {
    try {
      this.#bpf.update(this.#peers, this.#keyOf(a), this.#valueOf(b));
      this.#bpf.update(this.#peers, this.#keyOf(b), this.#valueOf(a));
      for (const socket of [a, b]) this.#bpf.update(this.#counters, this.#keyOf(socket), this.#zero());
      for (const socket of [a, b]) this.#bpf.update(this.#forwarding, this.#keyOf(socket), this.#valueOf(socket));
    } catch {
      this.stop(a, b);
      this.leave(a, b);
      return false;
    }
    for (const socket of [a, b]) this.#nudge(socket);
    return true;
  }

  /** What is received from here on stays with its socket; what was received before is still going out. */
  stop(a: Member, b: Member): void {
    for (const socket of [a, b]) this.#bpf.delete(this.#forwarding, this.#keyOf(socket));
  }

  /** To be called once everything has gone out. */
  leave(a: Member, b: Member): void {
    for (const socket of [a, b])
      for (const map of [this.#peers, this.#counters]) this.#bpf.delete(map, this.#keyOf(socket));
  }

  /** Bytes taken from what `socket` has received, since it was joined to its peer. */
  taken(socket: Member): number {
    if (!this.#bpf.lookup(this.#counters, this.#keyOf(socket), this.#value.address)) return 0;
    const [low = 0, high = 0] = this.#value.ints;
    return (low >>> 0) + high * 2 ** 32;
  }

  close(): void {
    for (const fd of [this.#program, this.#forwarding, this.#counters, this.#peers]) this.#libc.close(fd);
  }

  /**
   * What came after the last read and before the program was there waits in the queue, and the program runs only when something
   * comes. Setting the low-water mark, to what it is anyway, makes the kernel look (`tcp_set_rcvlowat`).
   */
  #nudge({ fd }: Member): void {
    this.#value.ints[0] = 1;
    this.#libc.setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, this.#value.address, 4);
  }

  #keyOf({ fd }: Member): number {
    this.#length.ints[0] = 8;
    this.#libc.getsockopt(fd, SOL_SOCKET, SO_COOKIE, this.#key.address, this.#length.address);
    return this.#key.address;
  }

  #zero(): number {
    this.#value.ints.fill(0);
    return this.#value.address;
  }

  #valueOf({ fd }: Member): number {
    this.#value.ints[0] = fd;
    return this.#value.address;
  }
}

/** Two for each pair. The map's buckets are allocated at once: 16 bytes for each of them. */
const SOCKETS = 16_384;
