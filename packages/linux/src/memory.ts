/**
 * Memory that native code can access by address. Always a whole `ArrayBuffer`: V8 keeps small typed arrays in its
 * moving heap, but never the contents of an `ArrayBuffer`.
 */
export interface Memory {
  /** Valid as long as this object is reachable. Below 2^47 in user space, and therefore exact as a number. */
  readonly address: number;
  readonly bytes: Uint8Array;
  /** The same memory in native byte order: little endian on all systems that {@link abiOf} supports. */
  readonly ints: Int32Array;
}

/** Allocates memory; `lengthBytes` is rounded up to whole 32-bit words. */
export function allocate(lengthBytes: number, addressOf: (bytes: Uint8Array) => number): Memory {
  const buffer = new ArrayBuffer(Math.ceil(lengthBytes / 4) * 4);
  const bytes = new Uint8Array(buffer);
  return { address: addressOf(bytes), bytes, ints: new Int32Array(buffer) };
}
