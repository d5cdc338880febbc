// The subset of protocol buffers that is needed to query Consul's xDS server and to read its responses.

/** A message whose fields are read by number. */
export class Message {
  readonly #fields = new Map<number, (Buffer | number)[]>();

  constructor(bytes: Buffer) {
    for (let at = 0; at < bytes.length;) {
      const tag = varint(bytes, at);
      const field = readField(bytes, tag.end, tag.value & 7);
      const values = this.#fields.get(tag.value >>> 3) ?? [];
      this.#fields.set(tag.value >>> 3, [...values, field.value]);
      at = field.end;
    }
  }

  /** 0 if absent, as in the encoding. */
  number(field: number): number {
    return Number(this.#fields.get(field)?.at(-1) ?? 0);
  }

  text(field: number): string {
    return String(this.#fields.get(field)?.at(-1) ?? '');
  }

  /** Empty if absent. */
  message(field: number): Message {
    return this.messages(field).at(-1) ?? new Message(Buffer.alloc(0));
  }

  messages(field: number): readonly Message[] {
    return (this.#fields.get(field) ?? []).filter((value) => Buffer.isBuffer(value)).map((value) => new Message(value));
  }

  strings(field: number): readonly string[] {
    return (this.#fields.get(field) ?? []).map(String);
  }

  has(field: number): boolean {
    return this.#fields.has(field);
  }
}

/** A string or message field. */
export function encoded(field: number, value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([asVarint(field * 8 + 2), asVarint(bytes.length), bytes]);
}

function readField(
  bytes: Buffer,
  at: number,
  wireType: number,
): { readonly value: Buffer | number; readonly end: number } {
  switch (wireType) {
    case 0:
      return varint(bytes, at);
    case 1:
      return { value: bytes.subarray(at, at + 8), end: at + 8 };
    case 2: {
      const { value: length, end } = varint(bytes, at);
      return { value: bytes.subarray(end, end + length), end: end + length };
    }
    case 5:
      return { value: bytes.subarray(at, at + 4), end: at + 4 };
    default:
      throw new Error(`expected wire type 0, 1, 2 or 5, found ${wireType}`);
  }
}

function varint(bytes: Buffer, at: number): { readonly value: number; readonly end: number } {
  let value = 0;
  for (let end = at, scale = 1; ; scale *= 128) {
    const byte = bytes.readUInt8(end);
    value += (byte & 127) * scale;
    end += 1;
    if (byte < 128) return { value, end };
  }
}

function asVarint(value: number): Buffer {
  return value < 128 ? Buffer.of(value) : Buffer.concat([Buffer.of((value & 127) | 128), asVarint(value >>> 7)]);
}
