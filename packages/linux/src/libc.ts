import type * as Koffi from 'koffi';
import {
  abiOf,
  IO_URING_ENTER,
  IO_URING_REGISTER,
  IO_URING_SETUP,
  MAP_ANONYMOUS,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
} from './abi.ts';
import type { Abi } from './abi.ts';
import { allocate } from './memory.ts';
import type { Memory } from './memory.ts';

/**
 * The system calls in use, with the names and arguments of their man pages (section 2). Pointers are addresses as
 * numbers; results are those of the system calls: −1 means that {@link Libc.errno} has the reason, which must be read
 * before the next call.
 */
export interface Libc {
  readonly abi: Abi;
  /** accept4(2). */
  accept4(fd: number, address: number, addressLength: number, flags: number): number;
  /** bind(2). */
  bind(fd: number, address: number, addressLength: number): number;
  /** close(2). */
  close(fd: number): number;
  /** connect(2). */
  connect(fd: number, address: number, addressLength: number): number;
  /** epoll_create(2). */
  epoll_create1(flags: number): number;
  /** epoll_ctl(2). */
  epoll_ctl(epoll: number, operation: number, fd: number, event: number): number;
  /** epoll_wait(2). */
  epoll_wait(epoll: number, events: number, maxEvents: number, timeoutMs: number): number;
  /** fcntl(2). */
  fcntl(fd: number, command: number, argument: number): number;
  /** getpeername(2). */
  getpeername(fd: number, address: number, addressLength: number): number;
  /** getrlimit(2). */
  getrlimit(resource: number, limits: number): number;
  /** getsockname(2). */
  getsockname(fd: number, address: number, addressLength: number): number;
  /** getsockopt(2). */
  getsockopt(fd: number, level: number, option: number, value: number, length: number): number;
  /** listen(2). */
  listen(fd: number, backlog: number): number;
  /** pipe2(2). */
  pipe2(fds: number, flags: number): number;
  /** recv(2). */
  recv(fd: number, buffer: number, length: number, flags: number): number;
  /** send(2). */
  send(fd: number, buffer: number, length: number, flags: number): number;
  /** sendmsg(2). */
  sendmsg(fd: number, message: number, flags: number): number;
  /** setrlimit(2). */
  setrlimit(resource: number, limits: number): number;
  /** setsockopt(2). */
  setsockopt(fd: number, level: number, option: number, value: number, length: number): number;
  /** shutdown(2). */
  shutdown(fd: number, how: number): number;
  /** socket(2). */
  socket(family: number, type: number, protocol: number): number;
  /** splice(2). The offsets are always 0: neither pipes nor sockets have one. */
  splice(from: number, fromOffset: 0, to: number, toOffset: 0, length: number, flags: number): number;
  /** io_uring_setup(2). @returns the ring's descriptor */
  io_uring_setup(entries: number, parameters: number): number;
  /** io_uring_enter(2), without a signal mask. */
  io_uring_enter(ring: number, submit: number, minComplete: number, flags: number): number;
  /** io_uring_register(2). */
  io_uring_register(ring: number, operation: number, argument: number, count: number): number;
  /**
   * mmap(2), readable and writable: shared memory of a descriptor, or private anonymous memory (−1).
   *
   * @returns the memory, to be released with `unmap` once nothing refers to it any more; `undefined` if the call failed
   */
  map(fd: number, offset: number, lengthBytes: number): MappedMemory | undefined;
  /** The error of the last call. */
  errno(): number;
  allocate(lengthBytes: number): Memory;
  /** Calls `onReadable` from this thread's event loop when `fd` is readable; keeps the process alive until closed. */
  poll(fd: number, onReadable: () => void): { close(): void };
}

/**
 * Loads koffi and binds the C library of this process; nothing is loaded before the call.
 *
 * @throws Error on anything but Linux on x64 or arm64, and if koffi has no binary for this system
 */
export async function loadLibc(): Promise<Libc> {
  const abi = abiOf(process.platform, process.arch);
  if (abi === undefined)
    throw new Error(`expected linux on x64 or arm64, found ${process.platform} on ${process.arch}`);
  const koffi = await import('koffi').catch((cause: unknown) => {
    throw new Error(`koffi cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  });
  return bindLibc(koffi, abi);
}

/** Memory shared with the kernel. */
export interface MappedMemory {
  /** Its start address. */
  readonly address: number;
  /** The memory itself. Must not be used after {@link MappedMemory.unmap}. */
  readonly buffer: ArrayBuffer;
  /** Releases the memory: munmap(2). */
  unmap(): void;
}

type Call = (...values: readonly number[]) => number;

function bindLibc(koffi: typeof Koffi, abi: Abi): Libc {
  // No path: the symbols of the process itself, whatever its C library.
  const library = koffi.load(null);
  const call = (name: string, types: string): Call => library.func(name, 'int', types.split(' ')) as Call;
  // `int` holds every result: lengths stay far below 2^31. int64 is the cheapest address type in koffi.
  const calls = {
    accept4: call('accept4', 'int int64 int64 int'),
    bind: call('bind', 'int int64 int'),
    close: call('close', 'int'),
    connect: call('connect', 'int int64 int'),
    epoll_create1: call('epoll_create1', 'int'),
    epoll_ctl: call('epoll_ctl', 'int int int int64'),
    epoll_wait: call('epoll_wait', 'int int64 int int'),
    getpeername: call('getpeername', 'int int64 int64'),
    getrlimit: call('getrlimit', 'int int64'),
    getsockname: call('getsockname', 'int int64 int64'),
    getsockopt: call('getsockopt', 'int int int int64 int64'),
    listen: call('listen', 'int int'),
    pipe2: call('pipe2', 'int64 int'),
    recv: call('recv', 'int int64 int64 int'),
    send: call('send', 'int int64 int64 int'),
    sendmsg: call('sendmsg', 'int int64 int'),
    setrlimit: call('setrlimit', 'int int64'),
    setsockopt: call('setsockopt', 'int int int int64 int'),
    shutdown: call('shutdown', 'int int'),
    socket: call('socket', 'int int int'),
    splice: call('splice', 'int int64 int int64 int64 uint'),
  };
  // Variadic in C, where the calling convention may differ.
  const fcntl = library.func('int fcntl(int fd, int command, ...)') as (...values: readonly unknown[]) => number;
  const mmap = library.func('mmap', 'int64', ['int64', 'int64', 'int', 'int', 'int', 'int64']) as Call;
  const munmap = library.func('munmap', 'int', ['int64', 'int64']) as Call;
  // System calls without a wrapper in the C library. Not declared as variadic, which koffi handles more slowly: on both
  // processors the arguments of syscall(2) are passed as for any other function.
  const syscall = (types: string): Call => library.func('syscall', 'long', ['long', ...types.split(' ')]) as Call;
  const [setup, enter, register] = [
    syscall('uint int64'),
    syscall('int uint uint uint int64 int64'),
    syscall('int uint int64 uint'),
  ];
  return {
    ...calls,
    io_uring_setup: (entries, parameters) => setup(IO_URING_SETUP, entries, parameters),
    io_uring_enter: (ring, submit, minComplete, flags) => enter(IO_URING_ENTER, ring, submit, minComplete, flags, 0, 0),
    io_uring_register: (ring, operation, argument, count) =>
      register(IO_URING_REGISTER, ring, operation, argument, count),
    map: (fd, offset, lengthBytes) => {
      const flags = fd === -1 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED | MAP_POPULATE;
      const address = mmap(0, lengthBytes, PROT_READ | PROT_WRITE, flags, fd, offset);
      if (address === -1) return undefined;
      return { address, buffer: koffi.view(address, lengthBytes), unmap: () => void munmap(address, lengthBytes) };
    },
    abi,
    fcntl: (fd, command, argument) => fcntl(fd, command, 'int', argument),
    errno: () => koffi.errno(),
    allocate: (lengthBytes) => allocate(lengthBytes, (bytes) => Number(koffi.address(bytes))),
    poll: (fd, onReadable) => koffi.node.poll(fd, { readable: true }, onReadable),
  };
}
