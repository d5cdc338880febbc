import type { Libc } from './libc.ts';
import type { Memory } from './memory.ts';
import { systemError } from './system-error.ts';

/**
 * The program that forwards, in the kernel's instruction set (Documentation/bpf/standardization/instruction-set.rst): 8 bytes
 * each, an operation, two registers, an offset and a constant. r0 is a result, r1 to r5 are arguments and do not survive a call,
 * r6 survives, r10 is the end of the stack.
 *
 * Called for each packet that a socket receives, before anybody can read it (`SK_SKB`, "verdict"): counts its bytes and sends
 * them out at the socket's peer.
 *
 * @param peers map: the peer of a socket, by the socket's cookie
 * @param counters map: bytes taken from a socket, by its cookie
 */
export function forwardingProgram(peers: number, counters: number): Uint8Array {
  return assemble([
    // r1 is the packet, which the calls below forget: keep it.
    { op: MOVE, to: 6, from: 1 },
    // A packet without bytes is the end of a stream. Sent out, it would count as a broken pipe (`sk_psock_backlog`); and that the
    // end has come the socket knows already. So its verdict is to be dropped: over the next 17 instructions, to the last.
    { op: MOVE_CONSTANT, to: 0, value: SK_DROP },
    { op: LOAD_32, to: 2, from: 6, offset: LENGTH_OF_PACKET },
    { op: JUMP_IF_EQUAL, to: 2, value: 0, offset: 17 },
    // r0 = the cookie of the socket that received it; on the stack, since a map is asked by the address of its key.
    { op: CALL, value: GET_SOCKET_COOKIE },
    { op: STORE_64, to: 10, from: 0, offset: -8 },
    // r0 = the address of the socket's counter. A constant of 64 bits takes two instructions; FROM_DESCRIPTOR has the kernel put
    // the map itself in place of its descriptor.
    { op: LOAD_64, to: 1, from: FROM_DESCRIPTOR, value: counters },
    { op: 0 },
    { op: MOVE, to: 2, from: 10 },
    { op: ADD_CONSTANT, to: 2, value: -8 },
    { op: CALL, value: MAP_LOOKUP_ELEM },
    // The counter is there; the verifier wants to see that we asked.
    { op: JUMP_IF_EQUAL, to: 0, value: 0, offset: 2 },
    { op: LOAD_32, to: 2, from: 6, offset: LENGTH_OF_PACKET },
    { op: ATOMIC_ADD_64, to: 0, from: 2 },
    // r0 = the verdict: out at the peer; dropped when there is none, which is when it has been closed. The flags in r4 could make
    // it "as if received by the peer"; 0 is "sent by the peer".
    { op: MOVE, to: 1, from: 6 },
    { op: LOAD_64, to: 2, from: FROM_DESCRIPTOR, value: peers },
    { op: 0 },
    { op: MOVE, to: 3, from: 10 },
    { op: ADD_CONSTANT, to: 3, value: -8 },
    { op: MOVE_CONSTANT, to: 4, value: 0 },
    { op: CALL, value: SK_REDIRECT_HASH },
    { op: EXIT },
  ]);
}

interface Instruction {
  readonly op: number;
  readonly to?: number;
  readonly from?: number;
  readonly offset?: number;
  readonly value?: number;
}

const MOVE = 0xbf;
const MOVE_CONSTANT = 0xb7;
const ADD_CONSTANT = 0x07;
const STORE_64 = 0x7b;
const LOAD_32 = 0x61;
const LOAD_64 = 0x18;
const JUMP_IF_EQUAL = 0x15;
const ATOMIC_ADD_64 = 0xdb;
const CALL = 0x85;
const EXIT = 0x95;
const FROM_DESCRIPTOR = 1;
/** In `struct __sk_buff`. */
const LENGTH_OF_PACKET = 0;
const SK_DROP = 0;
const MAP_LOOKUP_ELEM = 1;
const GET_SOCKET_COOKIE = 46;
const SK_REDIRECT_HASH = 72;

function assemble(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * INSTRUCTION_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [index, { op, to = 0, from = 0, offset = 0, value = 0 }] of instructions.entries()) {
    const at = index * INSTRUCTION_BYTES;
    view.setUint8(at, op);
    view.setUint8(at + 1, (from << 4) | to);
    view.setInt16(at + 2, offset, true);
    view.setInt32(at + 4, value, true);
  }
  return bytes;
}

/** bpf(2): one system call for everything, told what to do by a structure of its own for each command. */
export class Bpf {
  readonly #libc: Libc;
  readonly #attributes: Memory;
  readonly #view: DataView;
  readonly #license: Memory;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#attributes = libc.allocate(ATTRIBUTES_BYTES);
    this.#view = new DataView(this.#attributes.bytes.buffer);
    this.#license = libc.allocate(LICENSE.length + 1);
    this.#license.bytes.set(Buffer.from(LICENSE));
  }

  /** A `SOCKHASH`: sockets by a key of 64 bits. Throws the system's error. */
  createSocketMap(entries: number): number {
    return this.#call('BPF_MAP_CREATE', 0, [u32(0, BPF_MAP_TYPE_SOCKHASH), u32(4, 8), u32(8, 4), u32(12, entries)]);
  }

  /** Numbers of 64 bits, by a key of 64 bits. */
  createCounterMap(entries: number): number {
    return this.#call('BPF_MAP_CREATE', 0, [u32(0, BPF_MAP_TYPE_HASH), u32(4, 8), u32(8, 8), u32(12, entries)]);
  }

  loadVerdict(program: Uint8Array): number {
    const code = this.#libc.allocate(program.length);
    code.bytes.set(program);
    const count = program.length / INSTRUCTION_BYTES;
    return this.#call('BPF_PROG_LOAD', 5, [
      u32(0, BPF_PROG_TYPE_SK_SKB),
      u32(4, count),
      u64(8, code.address),
      u64(16, this.#license.address),
    ]);
  }

  /** From here on `program` judges what the sockets in `map` receive. */
  attachVerdict(program: number, map: number): void {
    this.#call('BPF_PROG_ATTACH', 8, [u32(0, map), u32(4, program), u32(8, BPF_SK_SKB_VERDICT)]);
  }

  /**
   * @param key address of the key
   * @param value address at which the value is to be written
   * @returns `false` when there is no such entry (any more)
   */
  lookup(map: number, key: number, value: number): boolean {
    return this.#try(1, [u32(0, map), u64(8, key), u64(16, value)]) !== -1;
  }

  /**
   * @param key address of the key
   * @param value address of the value: for a map of sockets, a descriptor
   */
  update(map: number, key: number, value: number): void {
    this.#call('BPF_MAP_UPDATE_ELEM', 2, [u32(0, map), u64(8, key), u64(16, value)]);
  }

  /** @returns `false` when there is no such entry (any more) */
  delete(map: number, key: number): boolean {
    return this.#try(3, [u32(0, map), u64(8, key)]) !== -1;
  }

  #call(name: string, command: number, fields: readonly Field[]): number {
    const result = this.#try(command, fields);
    if (result === -1) throw systemError(this.#libc.errno(), name);
    return result;
  }

  #try(command: number, fields: readonly Field[]): number {
    this.#attributes.bytes.fill(0);
    for (const { at, wide, value } of fields) {
      if (wide) this.#view.setBigUint64(at, BigInt(value), true);
      else this.#view.setUint32(at, value, true);
    }
    return this.#libc.bpf(command, this.#attributes.address, ATTRIBUTES_BYTES);
  }
}

interface Field {
  readonly at: number;
  readonly wide: boolean;
  readonly value: number;
}

const u32 = (at: number, value: number): Field => ({ at, wide: false, value });
const u64 = (at: number, value: number): Field => ({ at, wide: true, value });

const INSTRUCTION_BYTES = 8;
/** Enough for the fields in use; the kernel takes what is absent for 0. */
const ATTRIBUTES_BYTES = 72;
/** None of the helpers called asks for the GPL. */
const LICENSE = 'MIT';

const BPF_MAP_TYPE_HASH = 1;
const BPF_MAP_TYPE_SOCKHASH = 18;
const BPF_PROG_TYPE_SK_SKB = 14;
/** Since Linux 5.13, for programs that need no parser. */
const BPF_SK_SKB_VERDICT = 38;
