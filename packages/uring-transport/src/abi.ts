/** Constants and layouts of io_uring(7), from `linux/io_uring.h`: little endian, in 32-bit words unless noted. */

/** io_uring_setup(2): `flags` of the parameters, with the kernel version that introduced each. */
export const SETUP_CQSIZE: number = 1 << 3;
/** Continues to submit after a failed entry: 5.18. */
export const SETUP_SUBMIT_ALL: number = 1 << 7;
/** Completions wait for the next system call of this process instead of interrupting it: 5.19. */
export const SETUP_COOP_TASKRUN: number = 1 << 8;
/** Only one thread submits: 6.0. */
export const SETUP_SINGLE_ISSUER: number = 1 << 12;

/** `struct io_uring_params`: its length in bytes, and offsets in it. */
export const PARAMS_BYTES = 120;
/** In words. */
export const PARAMS = { sqEntries: 0, cqEntries: 1, flags: 2, features: 5, sqOffsets: 10, cqOffsets: 20 } as const;
/** Both rings are in one mapping: 5.4. */
export const FEAT_SINGLE_MMAP = 1;
/** Completions are never dropped: 5.5. */
export const FEAT_NODROP = 2;

/** `struct io_sqring_offsets` and `io_cqring_offsets`, in words. */
export const SQ_OFFSETS = { head: 0, tail: 1, mask: 2, flags: 4, array: 6 } as const;
/** Offsets in `struct io_cqring_offsets`, in words. */
export const CQ_OFFSETS = { head: 0, tail: 1, mask: 2, cqes: 5 } as const;
/** In `flags` of the submission ring: completions wait for room. */
export const SQ_CQ_OVERFLOW: number = 1 << 1;

/** Offset of the rings for mmap(2). */
export const OFF_RINGS = 0;
/** Offset of the submission entries for mmap(2). */
export const OFF_SQES = 0x10000000;

/** Length of a `struct io_uring_sqe`, in words. */
export const SQE_WORDS = 16;
/** Length of a `struct io_uring_cqe`, in words. */
export const CQE_WORDS = 4;

/** `opcode` of an entry: poll a descriptor once. */
export const OP_POLL_ADD = 6;
/** `opcode`: accept4(2). */
export const OP_ACCEPT = 13;
/** `opcode`: cancel pending requests. */
export const OP_ASYNC_CANCEL = 14;
/** `opcode`: connect(2). */
export const OP_CONNECT = 16;
/** `opcode`: close(2). */
export const OP_CLOSE = 19;
/** `opcode`: send(2). */
export const OP_SEND = 26;
/** `opcode`: recv(2). */
export const OP_RECV = 27;

/** `flags` of an entry: the kernel takes a provided buffer. */
export const SQE_BUFFER_SELECT: number = 1 << 5;

/** `flags` of an entry: only a failure is reported. 5.17. */
export const SQE_SKIP_SUCCESS: number = 1 << 6;

/** `ioprio` of an accept: one multishot entry. 5.19. */
export const ACCEPT_MULTISHOT = 1;
/** `ioprio` of a recv: poll first, since no data is expected yet. 5.19. */
export const RECV_POLL_FIRST = 1;
/** Flags of a cancellation: all requests of a descriptor. 5.19. */
export const CANCEL_ALL = 1;
/** Flags of a cancellation: the requests are selected by descriptor. 5.19. */
export const CANCEL_FD = 2;

/** `flags` of a completion: a provided buffer, whose number is in the upper half. */
export const CQE_BUFFER = 1;
/** More completions of the same entry will follow. */
export const CQE_MORE = 2;
/** The socket has more data to receive. */
export const CQE_SOCK_NONEMPTY = 4;

/** io_uring_enter(2): fetch pending completions. */
export const ENTER_GETEVENTS = 1;

/** io_uring_register(2): a ring of provided buffers, 5.19. */
export const REGISTER_PBUF_RING = 22;
/** `struct io_uring_buf_reg`, in bytes. */
export const BUF_REG_BYTES = 40;
/** `struct io_uring_buf`, in words: address (2), length, number and (in the first: the ring's tail) 16 bits each. */
export const BUF_WORDS = 4;
