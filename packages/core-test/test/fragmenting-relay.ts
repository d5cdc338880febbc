import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import type { Endpoint } from '@meshgate/core';
import { inRecords } from '@meshgate/testkit';

/** How the relay cuts what a client says first. */
export interface Cut {
  /** Bytes of the hello in each TLS record; as the client cut it, when absent. */
  readonly recordBytes?: number;
  /** Bytes in each write: segments of their own on a connection without delay. */
  readonly segmentBytes: number;
}

const RECORD_HEADER_BYTES = 5;

/**
 * Stands before `to` and cuts every client's hello as `cut` says, whoever the client is: what a hostile network or a cautious
 * client may do (RFC 8446, 5.1), and real clients cannot be told to. Everything else passes as it comes.
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
