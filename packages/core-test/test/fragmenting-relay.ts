import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import type { Endpoint } from '@meshgate/core';
import { inRecords } from '@meshgate/testkit';

/** How the relay splits the first bytes of a client. */
export interface Cut {
  /** Bytes of the hello per TLS record; if absent, as the client sent it. */
  readonly recordBytes?: number;
  /** Bytes per write: with TCP_NODELAY each is a segment. */
  readonly segmentBytes: number;
}

const RECORD_HEADER_BYTES = 5;

/**
 * A relay in front of `to` that splits the hello of any client as `cut` says, as a hostile network or a cautious client
 * may (RFC 8446, 5.1): real clients have no option for it. Everything else is forwarded unchanged.
 */
export async function fragmentingRelay(to: Endpoint, cut: Cut): Promise<Endpoint & AsyncDisposable> {
  const server = createServer({ noDelay: true }, (client) => void relay(client, to, cut));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { host: '127.0.0.1', port, [Symbol.asyncDispose]: async () => void server.close() };
}

async function relay(client: Socket, { host, port }: Endpoint, cut: Cut): Promise<void> {
  const upstream = connect({ host, port, noDelay: true });
  client.on('error', () => upstream.destroy());
  upstream.on('error', () => client.destroy());
  const { hello, rest } = await firstRecord(client);
  for (const piece of pieces(recut(hello, cut), cut.segmentBytes)) {
    upstream.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  upstream.write(rest);
  client.pipe(upstream).pipe(client);
}

/** Clients send their hello in one record. */
async function firstRecord(client: Socket): Promise<{ readonly hello: Buffer; readonly rest: Buffer }> {
  let received = Buffer.alloc(0);
  for (;;) {
    const [chunk] = (await once(client, 'data')) as [Buffer];
    received = Buffer.concat([received, chunk]);
    if (received.length < RECORD_HEADER_BYTES) continue;
    const end = RECORD_HEADER_BYTES + received.readUInt16BE(3);
    if (received.length < end) continue;
    client.pause();
    return { hello: received.subarray(0, end), rest: received.subarray(end) };
  }
}

function recut(hello: Buffer, { recordBytes }: Cut): Uint8Array {
  return recordBytes === undefined ? hello : inRecords(hello.subarray(RECORD_HEADER_BYTES), recordBytes);
}

function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}
